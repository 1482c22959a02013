// The page that frames the player: it is told what happens, and may say play, pause, seek. Both ways are messages with
// `callreplay: 1`; docs/service.md has them. Only our own origin and those of `frame_ancestors` are listened to or told.
export const allows = (pattern, origin) => {
  if (pattern === "self") return origin === location.origin;
  if (!pattern.includes("*")) return origin === pattern.replace(/\/$/, "");
  const [scheme, host] = pattern.split("://"), [theirs, name] = origin.split("://");
  return scheme === theirs && host.startsWith("*.") && name.endsWith(host.slice(1));
};

export class Framed {
  constructor(player, origins) {
    this.player = player;
    this.patterns = origins.split(" ");
    const parent = location.ancestorOrigins?.[0];
    if (parent && this.knows(parent)) this.parent = parent;
    addEventListener("message", (event) => this.hear(event));
  }
  knows(origin) { return this.patterns.some((pattern) => allows(pattern, origin)); }
  hear(event) {
    if (event.source !== parent || event.data?.callreplay !== 1 || !this.knows(event.origin)) return;
    this.parent = event.origin;
    const { command, time } = event.data, { player } = this;
    if (command === "play") player.play();
    else if (command === "pause") player.audio.pause();
    else if (command === "seek" && Number.isFinite(time)) player.seek(time);
    this.tell("state");
  }
  tell(event) {
    if (!this.parent) return;
    const { player } = this, { audio, part } = player;
    parent.postMessage({
      callreplay: 1, event, call: player.box.dataset.call, state: player.box.dataset.state, playing: !audio.paused,
      time: audio.currentTime, duration: player.duration(), speed: audio.playbackRate, selection: part && [part.start, part.end],
    }, this.parent);
  }
}
