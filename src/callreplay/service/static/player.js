// The player: native <audio> does the sound, and all of it without script; this adds the picture and the tools.
import { clock } from "./clock.js";
import { Framed } from "./frame.js";
import { Levels, Refused } from "./levels.js";
import { read } from "./read.js";
import { Sound } from "./sound.js";
import { Wave } from "./wave.js";

const LEGS = ["caller", "called"], KEPT = "callreplay.player", LONG_SILENCE = 1.5, BREATH = 0.3;

const kept = () => {
  try { return JSON.parse(localStorage.getItem(KEPT)) || {}; } catch { return {}; }
};
const keep = (values) => {
  try { localStorage.setItem(KEPT, JSON.stringify({ ...kept(), ...values })); } catch { /* a browser that keeps nothing */ }
};

class Player {
  constructor(box) {
    this.box = box;
    this.audio = box.querySelector("audio");
    this.length = Number(box.dataset.duration);
    this.sound = new Sound(this.audio);
    this.part = null;
    this.said = [];
    this.spectrogram = false;
    this.audio.controls = false;
    // The part of a link is ours to show: a browser would stop at its end, whatever is pressed.
    if (this.audio.src.includes("#")) this.audio.src = this.audio.src.replace(/#.*/, "");
    this.wave = new Wave(this);
    this.slider = this.wave.canvas;
    this.listen();
    this.remember();
    this.framed = parent !== self ? new Framed(this, box.dataset.origins) : null;
    this.say("loading");
    this.load();
  }
  find(name) { return this.box.querySelector(`[data-do="${name}"]`); }

  // -- loading --
  async load() {
    this.levels = new Levels(this.box.dataset.zoom, () => this.wave.renew(), (error) => this.fail(error));
    try {
      await this.levels.open();
    } catch (error) {
      return this.fail(error);
    }
    // A call is longer than its audio: it rang first. The browser knows the audio's length only once it plays.
    this.length = this.levels.length;
    const [start, end] = this.box.dataset.part.split(",").filter(Boolean).map(Number);
    this.wave.whole();
    if (end) {
      this.select(start, end);
      if (this.part && (end - start) < this.length / 20) this.wave.look(start - (end - start), end + (end - start));
    }
    if (start) this.seek(start);
    if (this.box.dataset.state === "loading" && this.audio.networkState !== HTMLMediaElement.NETWORK_LOADING) this.say("ready");
    this.show();
    this.describe();
    this.loadMarks();
    if (this.box.dataset.words) this.loadWords();
  }
  async loadMarks() {
    const marks = await read(this.box.dataset.marks, (answer) => answer.json());
    if (!marks) return;
    marks.quiet = this.quiet(marks);
    this.marks = marks;
    const counts = { loss: marks.gaps.filter((gap) => gap[3] === "loss").length, quiet: marks.quiet.length, digit: marks.digits.length };
    for (const [name, count] of Object.entries(counts)) {
      const key = this.box.querySelector(`.key.${name}`);
      key.hidden = !count;
      key.querySelector("b").textContent = count.toLocaleString(document.documentElement.lang);
    }
    this.box.querySelector(".legend").hidden = false;
    this.find("skip").disabled = false;
    this.wave.renew();
  }
  // Stretches in which nobody talks and no key is pressed.
  quiet({ talk, digits, duration }) {
    const loud = [...talk.map(([, start, end]) => [start, end]), ...digits.map(([, start, long]) => [start, start + long])].sort((one, two) => one[0] - two[0]);
    const found = [];
    let reached = 0;
    for (const [start, end] of [...loud, [duration, duration]]) {
      if (start - reached >= LONG_SILENCE) found.push([reached, start]);
      reached = Math.max(reached, end);
    }
    return found;
  }
  // [[leg, start, end, text], ...] by time: see docs/service.md. A line is what one party says in one go.
  async loadWords() {
    const words = await read(this.box.dataset.words, (answer) => answer.json());
    if (!words) return;
    const list = this.box.querySelector(".words"), made = document.createDocumentFragment();
    let line, last;
    this.words = words.map(([leg, start, end, text]) => {
      if (!line || last.leg !== leg || start - last.end > LONG_SILENCE) {
        const at = document.createElement("span");
        line = document.createElement("li");
        Object.assign(line, { className: LEGS[leg] || "" });
        Object.assign(at, { className: "at", textContent: clock(start) });
        line.append(at);
        made.append(line);
      }
      const word = document.createElement("button");
      Object.assign(word, { type: "button", textContent: text });
      word.addEventListener("click", () => { this.seek(start); this.play(); });
      line.append(word, " ");
      return last = { word, leg, start, end };
    });
    list.append(made);
    list.hidden = !this.words.length;
  }
  // Lights the words that are said now; the list scrolls with them unless somebody is reading in it.
  speak(now) {
    const list = this.box.querySelector(".words"), said = (this.words || []).filter(({ start, end }) => start <= now && now < end);
    if (said.length === this.said.length && said.every((each, n) => each === this.said[n])) return;
    for (const each of this.said) each.word.classList.remove("said");
    for (const each of said) each.word.classList.add("said");
    this.said = said;
    if (said.length && !list.matches(":hover, :focus-within")) {
      const { top, bottom } = said[0].word.getBoundingClientRect(), edge = list.getBoundingClientRect();
      if (top < edge.top || bottom > edge.bottom) list.scrollTop += top - edge.top - edge.height / 3;
    }
  }
  fail(error) {
    if (error instanceof Refused) this.refuse(error.answer); else this.say("failed");
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
    for (const control of this.box.querySelectorAll(".controls :is(button, select, input)")) control.disabled = !this.usable();
    this.find("skip").disabled ||= !this.marks;
    this.framed?.tell("state");
  }
  usable() { return ["loading", "ready"].includes(this.box.dataset.state); }
  duration() { return Number.isFinite(this.audio.duration) && this.audio.duration > 0 ? this.audio.duration : this.length; }

  // -- playing --
  seek(to) {
    if (!this.usable()) return;
    this.audio.currentTime = Math.min(Math.max(to, 0), this.duration());
    this.wave.follow(this.audio.currentTime);
    this.show();
  }
  play() { if (this.usable()) this.audio.play().catch(() => {}); }
  toggle() { if (this.audio.paused) this.play(); else this.audio.pause(); }
  speed(to) {
    const select = this.find("speed");
    if (![...select.options].some((option) => Number(option.value) === to)) return;
    select.value = String(to);
    this.audio.preservesPitch = true;
    this.audio.playbackRate = this.audio.defaultPlaybackRate = to;
    keep({ speed: to });
  }
  faster(by) {
    const select = this.find("speed");
    this.speed(Number(select.options[Math.min(Math.max(select.selectedIndex + by, 0), select.options.length - 1)].value));
  }
  volume(to) {
    this.audio.volume = Math.min(Math.max(to, 0), 1);
    this.find("volume").value = String(Math.round(100 * this.audio.volume));
    keep({ volume: this.audio.volume });
  }
  mix() {
    LEGS.forEach((leg, channel) => this.sound.set(channel, this.find(leg).checked ? Number(this.box.querySelector(`[data-level=${leg}]`).value) / 100 : 0));
  }
  remember() {
    const { speed, volume, skip } = kept();
    if (speed) this.speed(speed);
    if (Number.isFinite(volume)) this.volume(volume);
    this.find("skip").checked = Boolean(skip);
  }
  // What is to be done where the audio is now: the selection's end, a silence.
  tick() {
    const now = this.audio.currentTime, { part } = this;
    if (part && this.stops && now >= part.end) {
      if (this.loops) this.seek(part.start);
      else {
        this.stops = false;
        this.audio.pause();
        this.seek(part.end);
      }
      return;
    }
    if (this.audio.paused || !this.marks || !this.find("skip").checked) return;
    const quiet = this.marks.quiet.find(([start, end]) => now > start + BREATH && now < end - 2 * BREATH);
    if (quiet) this.seek(quiet[1] - BREATH);
  }
  follow() {
    this.tick();
    if (this.audio.paused) return;
    this.wave.follow(this.audio.currentTime);
    this.wave.draw();
    requestAnimationFrame(() => this.follow());
  }

  // -- the selection --
  select(one, two) {
    const start = Math.max(0, Math.min(one, two)), end = Math.min(this.length, Math.max(one, two));
    if (!(end - start >= 0.05)) return;
    this.part = { start, end };
    const bar = this.box.querySelector(".part"), query = `start=${start.toFixed(3)}&end=${end.toFixed(3)}`;
    bar.hidden = false;
    bar.querySelector(".span").textContent = `${clock(start, 1)} – ${clock(end, 1)}`;
    bar.querySelector(".shared").hidden = true;
    for (const link of bar.querySelectorAll("a[data-part]")) link.href = link.dataset.part + (link.dataset.part.includes("?") ? "&" : "?") + query;
    this.link = new URL(`${this.box.dataset.link}&${query}`, location.href).href;
    this.wave.draw();
    this.framed?.tell("selection");
  }
  clear() {
    this.part = null;
    this.stops = this.loops = false;
    this.find("loop").setAttribute("aria-pressed", "false");
    const bar = this.box.querySelector(".part"), held = bar.contains(document.activeElement);
    bar.hidden = true;
    if (held) this.slider.focus();
    this.wave.draw();
    this.framed?.tell("selection");
  }
  mark(edge) {
    const now = this.audio.currentTime, { part } = this;
    if (edge === "start") this.select(now, part && part.end > now ? part.end : Math.min(now + 10, this.length));
    else this.select(part && part.start < now ? part.start : Math.max(now - 10, 0), now);
  }
  playPart() {
    if (!this.part) return;
    this.stops = true;
    this.seek(this.part.start);
    this.play();
  }
  loop() {
    if (!this.part) return;
    this.loops = !this.loops;
    this.stops = this.loops || this.stops;
    this.find("loop").setAttribute("aria-pressed", String(this.loops));
    const now = this.audio.currentTime;
    if (this.loops && (now < this.part.start || now >= this.part.end)) this.playPart();
  }
  async share() {
    const shared = this.box.querySelector(".shared"), field = shared.querySelector("input"), said = shared.querySelector(".copied");
    shared.hidden = false;
    field.value = this.link;
    field.focus();
    field.select();
    // Where the page has no right to the clipboard (plain http), the link stands there to be copied.
    said.textContent = await navigator.clipboard?.writeText(this.link).then(() => said.dataset.said, () => "") ?? "";
  }
  view() {
    this.spectrogram = !this.spectrogram;
    this.find("spectrogram").setAttribute("aria-pressed", String(this.spectrogram));
    this.wave.renew();
  }

  // -- hands and keys --
  listen() {
    const { audio, box } = this;
    // Wherever the focus is: a page that has just been opened has it nowhere.
    document.addEventListener("keydown", (event) => this.key(event));
    box.addEventListener("click", (event) => this.press(event.target.closest("button[data-do]")));
    box.addEventListener("input", ({ target }) => {
      if (target.dataset.do === "volume") this.volume(Number(target.value) / 100);
      else if (target.dataset.level) this.mix();
    });
    box.addEventListener("change", ({ target }) => {
      if (target.dataset.do === "speed") this.speed(Number(target.value));
      else if (target.dataset.do === "skip") keep({ skip: target.checked });
      else if (LEGS.includes(target.dataset.do)) this.mix();
    });
    for (const name of ["play", "pause", "ended", "seeked", "timeupdate", "loadedmetadata", "ratechange"]) audio.addEventListener(name, () => {
      this.show();
      this.framed?.tell(name === "timeupdate" ? "time" : name);
    });
    audio.addEventListener("timeupdate", () => this.tick());
    audio.addEventListener("play", () => this.follow());
    audio.addEventListener("waiting", () => this.say("loading"));
    for (const name of ["playing", "canplay"]) audio.addEventListener(name, () => this.say("ready"));
    audio.addEventListener("error", () => this.explain(audio.src));
  }
  press(button) {
    if (!button) return;
    const { audio, wave, part } = this;
    ({
      play: () => this.toggle(),
      back: () => this.seek(audio.currentTime - 10),
      forward: () => this.seek(audio.currentTime + 10),
      "zoom-in": () => wave.zoom(2),
      "zoom-out": () => wave.zoom(0.5),
      whole: () => wave.whole(),
      spectrogram: () => this.view(),
      "mark-start": () => this.mark("start"),
      "mark-end": () => this.mark("end"),
      "play-part": () => this.playPart(),
      "fit-part": () => wave.look(part.start, part.end),
      loop: () => this.loop(),
      share: () => this.share(),
      clear: () => this.clear(),
    })[button.dataset.do]?.();
  }
  flip(name) {
    const box = this.find(name);
    if (!box.disabled) box.click();
  }
  key(event) {
    const within = event.target instanceof Element ? event.target : document.body;
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
    // What is typed into is left alone; of a slider and a tick its own keys.
    if (within.closest("select, textarea, [contenteditable], input:not([type=range], [type=checkbox])")) return;
    if (within.closest("input") && (event.key === " " || event.key.length > 1)) return;
    if (event.key === " " && within.closest("button, a, summary")) return;
    // Inside what scrolls, keys scroll.
    if (!this.box.contains(within) && within.closest("[tabindex]:not(main)")) return;
    const { audio, wave } = this, step = { ArrowLeft: -5, ArrowRight: 5, ArrowDown: -5, ArrowUp: 5, PageDown: -30, PageUp: 30 }[event.key];
    const act = step ? () => this.seek(audio.currentTime + step) : {
      " ": () => this.toggle(), k: () => this.toggle(), Home: () => this.seek(0), End: () => this.seek(this.duration()),
      "+": () => wave.zoom(2), "=": () => wave.zoom(2), "-": () => wave.zoom(0.5), 0: () => wave.whole(), "<": () => this.faster(-1), ">": () => this.faster(1),
      "[": () => this.mark("start"), "]": () => this.mark("end"), p: () => this.playPart(), l: () => this.loop(), c: () => this.clear(),
      1: () => this.flip("caller"), 2: () => this.flip("called"), s: () => this.flip("skip"), g: () => this.view(),
    }[event.key];
    if (!act || !this.usable()) return;
    act();
    event.preventDefault();
  }

  // -- what is shown --
  show() {
    const now = this.audio.currentTime, long = this.duration();
    this.box.querySelector(".clock").textContent = clock(now);
    this.find("play").setAttribute("aria-pressed", String(!this.audio.paused));
    this.box.querySelector(".total").textContent = `/ ${clock(long)}`;
    this.slider.setAttribute("aria-valuemax", String(Math.round(long)));
    this.slider.setAttribute("aria-valuenow", String(Math.round(now)));
    this.slider.setAttribute("aria-valuetext", clock(now));
    this.speak(now);
    if (this.described && Number.isFinite(long) && long > 0) navigator.mediaSession.setPositionState({ duration: long, playbackRate: this.audio.playbackRate, position: Math.min(now, long) });
    this.wave.draw();
  }
  // The keys of a keyboard, a headset, a locked phone.
  describe() {
    const session = navigator.mediaSession;
    if (!session || !window.MediaMetadata) return;
    session.metadata = new MediaMetadata({ title: this.box.dataset.title, artist: this.box.dataset.when, album: "CallReplay" });
    const by = (seconds) => ({ seekOffset }) => this.seek(this.audio.currentTime + Math.sign(seconds) * (seekOffset || Math.abs(seconds)));
    const actions = { play: () => this.play(), pause: () => this.audio.pause(), stop: () => { this.audio.pause(); this.seek(0); }, seekbackward: by(-10), seekforward: by(10), seekto: ({ seekTime }) => this.seek(seekTime) };
    for (const [name, act] of Object.entries(actions)) {
      try { session.setActionHandler(name, act); } catch { /* not known here */ }
    }
    this.described = true;
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
  (dialog.querySelector(".player .wave[role=slider]") || dialog.querySelector(".tabs [aria-current]")).focus({ preventScroll: true });
} else if (location.hash.startsWith("#call-")) {
  // Back from a call's details: to the line that led there.
  document.getElementById(location.hash.slice(1))?.focus();
}
