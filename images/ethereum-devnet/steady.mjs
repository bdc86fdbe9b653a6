// Loaded with `node --import` before Lodestar's beacon node: a small network must outlive pauses, partitions and
// power cuts, which that of Lodestar 1.5.1 does not.
//   everywhere               nodes keep the address that they are told, though it is not their container's, dial their
//                            bootnodes again when these are gone, not only when they start, forgive a silent peer
//                            within seconds and ask how far others are every ten, not every 300
//   the network's own nodes  have IDENTITY, from which the same peer id comes after each start, and do their duties
//                            after a pause of any length, where others wait for each other after eight slots
import { createHash } from "node:crypto";
import { registerHooks } from "node:module";

const changes = [
  ["/@lodestar/beacon-node/lib/network/nodejs/util.js", "clearMultiaddrUDP(enr);", ""],
  [
    "/@lodestar/beacon-node/lib/network/peers/discover.js",
    "const numBootEnrs = opts.discv5.bootEnrs.length;",
    `const numBootEnrs = opts.discv5.bootEnrs.length;
        setInterval(async () => {
            const { ENR } = await import("@chainsafe/discv5");
            for (const enr of opts.discv5.bootEnrs) await this.onDiscoveredENR(ENR.decodeTxt(enr));
        }, 10_000).unref();`,
  ],
  [
    "/@lodestar/beacon-node/lib/network/peers/score.js",
    "const HALFLIFE_DECAY_MS = -Math.log(2) / SCORE_HALFLIFE_MS;",
    "const HALFLIFE_DECAY_MS = -Math.log(2) / 10_000;",
  ],
  [
    "/@lodestar/beacon-node/lib/network/peers/score.js",
    "const BANNED_BEFORE_DECAY_MS = 30 * 60 * 1000;",
    "const BANNED_BEFORE_DECAY_MS = 10_000;",
  ],
  [
    "/@lodestar/beacon-node/lib/network/peers/peerManager.js",
    "const STATUS_INTERVAL_MS = 5 * 60 * 1000;",
    "const STATUS_INTERVAL_MS = 10_000;",
  ],
];
if (process.env.IDENTITY) {
  const key = createHash("sha256").update(`devnet ${process.env.IDENTITY}`).digest("base64");
  changes.push(
    [
      "/@chainsafe/lodestar/lib/cmds/beacon/handler.js",
      "await createSecp256k1PeerId()",
      `await (await import("@libp2p/peer-id-factory")).createFromPrivKey(
      new (await import("@libp2p/crypto/keys")).supportedKeys.secp256k1.Secp256k1PrivateKey(Buffer.from("${key}", "base64")))`,
    ],
    [
      "/@lodestar/beacon-node/lib/sync/sync.js",
      "headSlot >= currentSlot - this.slotImportTolerance",
      "headSlot >= 0",
    ],
  );
}

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    const wanted = changes.filter(([file]) => url.endsWith(file));
    if (wanted.length === 0) return loaded;
    let source = Buffer.from(loaded.source).toString();
    for (const [file, before, after] of wanted) {
      if (!source.includes(before)) throw new Error(`${file} is not the one of Lodestar 1.5.1`);
      source = source.replace(before, () => after);
    }
    return { ...loaded, source };
  },
});
