// The player: draws the peaks, plays, seeks by click or key. Native <audio> does the sound, and all of it without script.
"use strict";
const clock = (s) => {
  const t = Math.floor(s), h = Math.floor(t / 3600), m = Math.floor(t / 60) % 60, two = (n) => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(t % 60)}` : `${m}:${two(t % 60)}`;
};
const legs = ["caller", "called"];

class Player {
  constructor(box) {
    this.box = box;
    this.audio = box.querySelector("audio");
    this.wave = box.querySelector("canvas");
    this.length = Number(box.dataset.duration);
    this.gains = null;
    this.audio.controls = false;
    this.say("loading");
    this.wave.addEventListener("click", (event) => {
      const edge = this.wave.getBoundingClientRect();
      this.seek((event.clientX - edge.left) / edge.width * this.duration());
    });
    // Wherever the focus is: a page that has just been opened has it nowhere.
    document.addEventListener("keydown", (event) => this.key(event));
    box.addEventListener("click", (event) => this.press(event.target.closest("button[data-do]")));
    box.querySelector("[data-do=speed]").addEventListener("change", (event) => { this.audio.playbackRate = Number(event.target.value); });
    for (const leg of legs) box.querySelector(`[data-do=${leg}]`).addEventListener("change", () => this.mix());
    for (const name of ["play", "pause", "ended", "seeked", "timeupdate", "loadedmetadata"]) this.audio.addEventListener(name, () => this.show());
    this.audio.addEventListener("waiting", () => this.say("loading"));
    for (const name of ["playing", "canplay"]) this.audio.addEventListener(name, () => this.say("ready"));
    this.audio.addEventListener("error", () => this.explain(this.audio.src));
    new ResizeObserver(() => this.draw()).observe(this.wave);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.load();
  }
  async load() {
    try {
      const answer = await fetch(this.box.dataset.peaks);
      if (!answer.ok) return this.refuse(answer);
      this.peaks = await answer.json();
      // A call is longer than its audio: it rang first. The browser knows the audio's length only once it plays.
      this.length = this.peaks.length * this.peaks.samples_per_pixel / this.peaks.sample_rate;
      if (this.box.dataset.state === "loading" && this.audio.networkState !== HTMLMediaElement.NETWORK_LOADING) this.say("ready");
      this.show();
    } catch {
      this.say("failed");
    }
  }
  // An <audio> that fails does not say why; its address does.
  explain(address) {
    fetch(address, { headers: { range: "bytes=0-0" } }).then((answer) => answer.ok ? this.say("failed") : this.refuse(answer), () => this.say("failed"));
  }
  async refuse(answer) {
    const problem = await answer.json().catch(() => ({}));
    this.say(answer.status === 410 ? "expired" : ["encrypted", "missing"].includes(problem.code) ? problem.code : "failed");
  }
  say(state) {
    this.box.dataset.state = state;
    for (const part of this.box.querySelectorAll("[data-for]")) part.hidden = part.dataset.for !== state;
    this.box.querySelector(".alert").hidden = state === "loading" || state === "ready";
    for (const control of this.box.querySelectorAll(".controls button, .controls select, .controls input")) control.disabled = !this.usable();
  }
  usable() { return ["loading", "ready"].includes(this.box.dataset.state); }
  duration() { return Number.isFinite(this.audio.duration) && this.audio.duration > 0 ? this.audio.duration : this.length; }
  seek(to) {
    if (!this.usable()) return;
    this.audio.currentTime = Math.min(Math.max(to, 0), this.duration());
    this.show();
  }
  toggle() {
    if (!this.usable()) return;
    if (this.audio.paused) this.audio.play().catch(() => {}); else this.audio.pause();
  }
  press(button) {
    if (!button) return;
    const what = button.dataset.do;
    if (what === "play") this.toggle();
    else this.seek(this.audio.currentTime + (what === "back" ? -10 : 10));
  }
  key(event) {
    const within = event.target instanceof Element ? event.target : document.body;
    if (within.closest("select, input, textarea, [contenteditable]") || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === " " && within.closest("button, a, summary")) return;
    // Inside what scrolls, keys scroll.
    if (!this.box.contains(within) && within.closest("[tabindex]:not(main)")) return;
    const step = { ArrowLeft: -5, ArrowRight: 5, ArrowDown: -5, ArrowUp: 5, PageDown: -30, PageUp: 30 }[event.key];
    if (event.key === " " || event.key === "k") this.toggle();
    else if (event.key === "Home") this.seek(0);
    else if (event.key === "End") this.seek(this.duration());
    else if (step) this.seek(this.audio.currentTime + step);
    else return;
    event.preventDefault();
  }
  mix() {
    // The caller is the left channel, the called the right one, and each stays there: muting a leg changes nothing of
    // the other. The graph is made only when a leg is first muted.
    if (!this.gains) {
      const context = new AudioContext(), splitter = context.createChannelSplitter(2), merger = context.createChannelMerger(2);
      context.createMediaElementSource(this.audio).connect(splitter);
      this.gains = legs.map((leg, channel) => {
        const gain = context.createGain();
        splitter.connect(gain, channel);
        gain.connect(merger, 0, channel);
        return gain;
      });
      merger.connect(context.destination);
      context.resume();
    }
    legs.forEach((leg, channel) => { this.gains[channel].gain.value = this.box.querySelector(`[data-do=${leg}]`).checked ? 1 : 0; });
  }
  show() {
    const now = this.audio.currentTime;
    this.box.querySelector(".clock").textContent = clock(now);
    this.box.querySelector("[data-do=play]").setAttribute("aria-pressed", String(!this.audio.paused));
    this.box.querySelector(".total").textContent = `/ ${clock(this.duration())}`;
    this.wave.setAttribute("aria-valuemax", String(Math.round(this.duration())));
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
    if (!this.peaks) return;
    const at = this.audio.currentTime / this.duration() * width;
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
    pen.globalAlpha = 1;
    pen.fillStyle = style.getPropertyValue("--ink");
    pen.fillRect(Math.max(0, Math.min(at, width) - scale), 0, 2 * scale, height);
  }
}

document.documentElement.classList.add("scripting");
for (const box of document.querySelectorAll(".player")) new Player(box);
const dialog = document.querySelector("dialog");
if (dialog) {
  // Shown again as a modal one, the rest of the page is out of reach of the Tab key and of screen readers.
  dialog.close();
  dialog.showModal();
  dialog.setAttribute("aria-modal", "true");
  const leave = (event) => { event.preventDefault(); location.assign(dialog.dataset.close); };
  dialog.addEventListener("cancel", leave);
  dialog.addEventListener("click", (event) => { if (event.target === dialog) leave(event); });
  (dialog.querySelector(".player canvas") || dialog.querySelector(".tabs [aria-current]")).focus({ preventScroll: true });
} else if (location.hash.startsWith("#call-")) {
  // Back from a call's details: to the line that led there.
  document.getElementById(location.hash.slice(1))?.focus();
}
