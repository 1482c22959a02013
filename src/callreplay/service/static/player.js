// The player: draws the peaks, plays, seeks by click or key. Native <audio> does the sound.
"use strict";
const clock = (s) => {
  const t = Math.floor(s), h = Math.floor(t / 3600), m = Math.floor(t / 60) % 60, two = (n) => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(t % 60)}` : `${m}:${two(t % 60)}`;
};

class Player {
  constructor(box) {
    this.box = box;
    this.audio = box.querySelector("audio");
    this.wave = box.querySelector("canvas");
    this.length = Number(box.dataset.duration);
    this.gains = null;
    this.wave.addEventListener("click", (event) => {
      const edge = this.wave.getBoundingClientRect();
      this.seek((event.clientX - edge.left) / edge.width * this.duration());
    });
    box.addEventListener("keydown", (event) => this.key(event));
    box.addEventListener("click", (event) => this.press(event.target.closest("button[data-do]")));
    box.querySelector("[data-do=speed]").addEventListener("change", (event) => { this.audio.playbackRate = Number(event.target.value); });
    for (const leg of ["caller", "called"]) box.querySelector(`[data-do=${leg}]`).addEventListener("change", () => this.mix());
    for (const name of ["play", "pause", "ended", "seeked", "timeupdate", "loadedmetadata"]) this.audio.addEventListener(name, () => this.show());
    this.audio.addEventListener("error", () => { box.querySelector(".alert").hidden = false; });
    new ResizeObserver(() => this.draw()).observe(this.wave);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    fetch(box.dataset.peaks).then((answer) => answer.ok ? answer.json() : null).then((peaks) => { this.peaks = peaks; this.draw(); }).catch(() => {});
  }
  duration() { return Number.isFinite(this.audio.duration) && this.audio.duration > 0 ? this.audio.duration : this.length; }
  seek(to) { this.audio.currentTime = Math.min(Math.max(to, 0), this.duration()); this.show(); }
  toggle() { if (this.audio.paused) this.audio.play().catch(() => {}); else this.audio.pause(); }
  press(button) {
    if (!button) return;
    const what = button.dataset.do;
    if (what === "play") this.toggle();
    else this.seek(this.audio.currentTime + (what === "back" ? -10 : 10));
  }
  key(event) {
    if (event.target.matches("button, select, input, a") || event.ctrlKey || event.altKey || event.metaKey) return;
    const step = { ArrowLeft: -5, ArrowRight: 5, PageDown: -30, PageUp: 30 }[event.key];
    if (event.key === " " || event.key === "k") this.toggle();
    else if (event.key === "Home") this.seek(0);
    else if (event.key === "End") this.seek(this.duration());
    else if (step) this.seek(this.audio.currentTime + step);
    else return;
    event.preventDefault();
  }
  mix() {
    // The caller is the left channel, the called the right one; a graph is made only when a leg is first muted.
    if (!this.gains) {
      const context = new AudioContext(), splitter = context.createChannelSplitter(2);
      context.createMediaElementSource(this.audio).connect(splitter);
      this.gains = ["caller", "called"].map((leg, channel) => {
        const gain = context.createGain();
        splitter.connect(gain, channel);
        gain.connect(context.destination);
        return gain;
      });
      context.resume();
    }
    ["caller", "called"].forEach((leg, channel) => { this.gains[channel].gain.value = this.box.querySelector(`[data-do=${leg}]`).checked ? 1 : 0; });
  }
  show() {
    const now = this.audio.currentTime;
    this.box.querySelector(".clock").textContent = clock(now);
    this.box.querySelector("[data-do=play]").setAttribute("aria-pressed", String(!this.audio.paused));
    this.wave.setAttribute("aria-valuenow", String(Math.round(now)));
    this.wave.setAttribute("aria-valuetext", clock(now));
    this.draw();
  }
  draw() {
    const scale = devicePixelRatio || 1, width = Math.round(this.wave.clientWidth * scale), height = Math.round(this.wave.clientHeight * scale);
    if (!width) return;
    if (this.wave.width !== width || this.wave.height !== height) { this.wave.width = width; this.wave.height = height; }
    const pen = this.wave.getContext("2d"), style = getComputedStyle(document.documentElement);
    pen.clearRect(0, 0, width, height);
    const at = this.audio.currentTime / this.duration() * width;
    if (this.peaks) {
      const { data, channels, length, bits } = this.peaks, full = bits === 16 ? 32768 : 128, lane = height / channels;
      for (let channel = 0; channel < channels; channel++) {
        const middle = lane * (channel + 0.5);
        pen.fillStyle = style.getPropertyValue(channel ? "--called" : "--caller");
        for (let x = 0; x < width; x++) {
          const from = Math.floor(x * length / width), to = Math.max(from + 1, Math.floor((x + 1) * length / width));
          let low = 0, high = 0;
          for (let i = from; i < to && i < length; i++) {
            low = Math.min(low, data[2 * (i * channels + channel)]);
            high = Math.max(high, data[2 * (i * channels + channel) + 1]);
          }
          pen.globalAlpha = x < at ? 1 : 0.55;
          pen.fillRect(x, middle - high / full * lane * 0.48, 1, Math.max(1, (high - low) / full * lane * 0.48));
        }
      }
    }
    pen.globalAlpha = 1;
    pen.fillStyle = style.getPropertyValue("--ink");
    pen.fillRect(Math.max(0, at - scale), 0, 2 * scale, height);
  }
}

for (const box of document.querySelectorAll(".player")) new Player(box);
const dialog = document.querySelector("body:not(.framed) .dialog");
if (dialog) {
  addEventListener("keydown", (event) => { if (event.key === "Escape") location.assign(dialog.dataset.close); });
  (dialog.querySelector(".player") || dialog.querySelector("a")).focus({ preventScroll: true });
}
