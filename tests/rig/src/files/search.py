# Looks on a machine for secrets that must not be there: in every file that is its own, and in the memory of every
# process but this one. Reads the secrets from standard input, in hex, a line each; looks for their bytes and for
# their hex. Says where it found one, then how much it looked through.
import os, re, stat, sys

PIECE = 8 << 20
plain = [bytes.fromhex(line) for line in sys.stdin.read().split()]
needles = plain + [secret.hex().encode() for secret in plain]
overlap = max(map(len, needles)) - 1
found, files, memory = set(), 0, 0


def holds(read, size):
    """Whether what `read` returns piece by piece has a needle in it; `read` may end early."""
    at, kept = 0, b""
    while at < size:
        piece = read(min(PIECE, size - at))
        if not piece:
            break
        at += len(piece)
        whole = kept + piece
        if any(needle in whole for needle in needles):
            return True
        kept = whole[-overlap:]
    return False


for top in ("/etc", "/home", "/root", "/run", "/tmp", "/var"):
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name != "merged"]  # the same files again
        for name in names:
            path = os.path.join(folder, name)
            try:
                if stat.S_ISREG(os.lstat(path).st_mode):
                    with open(path, "rb") as file:
                        files += 1
                        if holds(file.read, 1 << 60):
                            found.add(path)
            except OSError:
                pass  # it went

for process in filter(str.isdigit, os.listdir("/proc")):
    if process == str(os.getpid()):
        continue
    try:
        name = open(f"/proc/{process}/comm").read().strip()
        areas = open(f"/proc/{process}/maps").read().splitlines()
        space = open(f"/proc/{process}/mem", "rb", buffering=0)
    except OSError:
        continue  # it ended
    for area in areas:
        first, last, mode = re.match(r"(\w+)-(\w+) (\S+)", area).groups()
        first, last = int(first, 16), int(last, 16)
        if "r" not in mode or area.endswith(("[vvar]", "[vsyscall]")):
            continue
        try:
            space.seek(first)
            if holds(space.read, last - first):
                found.add(f"memory of {name} ({process})")
            memory += last - first
        except (OSError, OverflowError):
            pass  # never written, or gone
for place in sorted(found):
    print(f"found {place}")
print(f"searched {files} {memory}")
