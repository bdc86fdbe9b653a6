#!/bin/bash
# Process 1 of a rig machine. It runs in fresh mount, uts, ipc and pid namespaces and in the machine's
# network namespace, gives the machine a disk of its own, starts sshd and dockerd, says "ready" on its
# standard output and then reaps orphans for ever.
#   init.sh HOSTNAME MACHINE_DIR STATE_DIR CGROUP_PARENT
set -euo pipefail
name=$1 dir=$2 state=$3 cgroup=$4

mount --make-rprivate /
umount --lazy --recursive /run/netns 2>/dev/null || true # a copy here would keep other machines' networks alive
mount -t proc proc /proc
hostname "$name"

# /sys is mounted again, so that it shows this network namespace; the cgroup mounts move over.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd /run/lock /run/cgroup /run/disk
mount --rbind /sys/fs/cgroup /run/cgroup
mount -t sysfs sysfs /sys
mount --move /run/cgroup /sys/fs/cgroup
rmdir /run/cgroup

# The machine's own disk: /var, /home, /root, and a copy-on-write /etc. Package facts stay readable.
disk=/run/disk # the state may lie under a directory that is covered below
mount --bind "$dir/disk" $disk
var=$disk/var
mkdir -p "$var"/{cache,lib/docker,lib/berth,lib/dpkg,lib/sudo,local,log,mail,spool,tmp}
ln -sfn /run "$var/run"
ln -sfn /run/lock "$var/lock"
chmod 1777 "$var/tmp"
mkdir -p $disk/{home,root,etc,etc.work}
chmod 700 $disk/root
[ ! -d /var/lib/dpkg ] || { mount --bind /var/lib/dpkg "$var/lib/dpkg"; mount -o remount,bind,ro "$var/lib/dpkg"; }
mount -t overlay overlay -o lowerdir=/etc,upperdir=$disk/etc,workdir=$disk/etc.work /etc
exec 8<"$dir/ssh_host_key" 9<"$dir/ssh_host_key.pub"
mount --rbind "$var" /var
mount --bind $disk/home /home
mount --bind $disk/root /root
umount --lazy $disk && rmdir $disk

# Nothing of the host's files that could be written, nothing of the other machines that could be read.
for covered in /tmp /dev/shm /srv /mnt /media; do
  [ ! -d "$covered" ] || mount -t tmpfs -o mode=1777 tmpfs "$covered"
done
[ ! -d "$state" ] || mount -t tmpfs -o mode=700,ro tmpfs "$state"
mount -o remount,bind,ro /

if [ ! -e /etc/ssh/.rig ]; then # first boot
  rm -rf /etc/ssh /etc/docker
  mkdir -p /etc/ssh/sshd_config.d /etc/docker
  (umask 077 && cat <&8 >/etc/ssh/ssh_host_ed25519_key)
  cat <&9 >/etc/ssh/ssh_host_ed25519_key.pub
  cat >/etc/ssh/sshd_config <<'CONFIG'
Include /etc/ssh/sshd_config.d/*.conf
HostKey /etc/ssh/ssh_host_ed25519_key
KbdInteractiveAuthentication no
PasswordAuthentication no
UsePAM yes
UseDNS no
PrintMotd no
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
CONFIG
  echo "$name" >/etc/hostname
  printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" >/etc/hosts
  rm -f /etc/resolv.conf && : >/etc/resolv.conf
  touch /etc/ssh/.rig
fi
exec 8<&- 9<&-

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
cd /
dockerd --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent="$cgroup" --log-level=warn \
  </dev/null >>/var/log/dockerd.log 2>&1 &
dockerd=$!
/usr/sbin/sshd -D -E /var/log/sshd.log </dev/null >/dev/null 2>&1 &

answers() { [ -s /run/sshd.pid ] && [ -S /run/docker.sock ] && docker version >/dev/null 2>&1; }
until answers; do
  kill -0 "$dockerd" 2>/dev/null || { tail -n 20 /var/log/dockerd.log >&2; echo "dockerd ended" >&2; exit 1; }
  sleep 0.1
done
echo ready
exec >/dev/null 2>&1
trap 'exit 0' TERM
while :; do wait -n || true; sleep 1; done
