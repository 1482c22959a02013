// The picture of a call: waveform or spectrogram with its marks, the part that is looked at, and fingers and mice on it.
import { clock } from "./clock.js";

const LEAST = 1, NEAR = 8, STILL = 5, LONG_PRESS = 450, AXIS = 18;
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];

export class Wave {
  constructor(player) {
    this.player = player;
    this.canvas = player.box.querySelector(".wave[role=slider]");
    this.overview = player.box.querySelector(".overview");
    this.hover = player.box.querySelector(".hover");
    this.picture = document.createElement("canvas");
    this.over = document.createElement("canvas");
    this.small = document.createElement("canvas");
    this.from = 0;
    this.to = player.length;
    this.pointers = new Map();
    this.images = [];
    this.listen();
    new ResizeObserver(() => this.renew()).observe(this.canvas);
    for (const asked of ["(prefers-color-scheme: dark)", "(forced-colors: active)", "print"]) matchMedia(asked).addEventListener("change", () => this.renew());
  }
  get span() { return this.to - this.from; }
  get isWhole() { return this.from <= 0.01 && this.to >= this.player.duration() - 0.05; }

  // -- what is looked at --
  look(from, to) {
    const whole = this.player.duration(), span = Math.min(Math.max(to - from, Math.min(LEAST, whole)), whole);
    this.from = Math.min(Math.max(from, 0), whole - span);
    this.to = this.from + span;
    this.renew();
  }
  whole() { this.look(0, this.player.duration()); }
  zoom(factor, around = this.player.audio.currentTime) {
    if (around < this.from || around > this.to) around = (this.from + this.to) / 2;
    const part = (around - this.from) / this.span, span = Math.max(this.span / factor, LEAST);
    this.look(around - part * span, around + (1 - part) * span);
  }
  follow(now) {
    if (!this.isWhole && !this.pointers.size && (now < this.from || now > this.to)) this.look(now - 0.05 * this.span, now + 0.95 * this.span);
  }
  timeAt(x) {
    const edge = this.canvas.getBoundingClientRect();
    return this.from + Math.min(Math.max((x - edge.left) / edge.width, 0), 1) * this.span;
  }
  placeOf(time) { return (time - this.from) / this.span * this.canvas.clientWidth; }

  // -- hands --
  listen() {
    const { canvas, overview } = this;
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.release(event));
    canvas.addEventListener("pointerleave", () => { this.hover.hidden = true; });
    canvas.addEventListener("contextmenu", (event) => { if (this.pointers.size) event.preventDefault(); });
    canvas.addEventListener("wheel", (event) => this.turn(event), { passive: false });
    const jump = (event) => {
      const edge = overview.getBoundingClientRect(), time = (event.clientX - edge.left) / edge.width * this.player.duration();
      if (this.isWhole) this.player.seek(time); else this.look(time - this.span / 2, time + this.span / 2);
    };
    overview.addEventListener("pointerdown", (event) => { overview.setPointerCapture(event.pointerId); jump(event); });
    overview.addEventListener("pointermove", (event) => { if (overview.hasPointerCapture(event.pointerId)) jump(event); });
  }
  turn(event) {
    if (event.ctrlKey) this.zoom(Math.exp(-event.deltaY / 200), this.timeAt(event.clientX));
    else if ((event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) && !this.isWhole) {
      const by = (event.deltaX || event.deltaY) / this.canvas.clientWidth * this.span;
      this.look(this.from + by, this.to + by);
    } else return;
    event.preventDefault();
  }
  press(event) {
    if (event.button || !this.player.usable()) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event.clientX);
    clearTimeout(this.timer);
    const begun = { x: event.clientX, from: this.from, to: this.to, time: this.timeAt(event.clientX) };
    if (this.pointers.size === 2) {
      const [one, two] = this.pointers.values();
      this.hand = { ...begun, kind: "pinch", wide: Math.max(Math.abs(one - two), 1), time: this.timeAt((one + two) / 2) };
      return;
    }
    const edge = this.edgeAt(event.clientX);
    this.hand = edge === null ? { ...begun, kind: "press" } : { ...begun, kind: "select", time: edge };
    if (event.pointerType === "touch") this.timer = setTimeout(() => { if (this.hand?.kind === "press") this.hand.kind = "select"; }, LONG_PRESS);
  }
  // The other end of the selection whose edge lies under a pointer.
  edgeAt(x) {
    const { part } = this.player, at = x - this.canvas.getBoundingClientRect().left;
    if (!part) return null;
    if (Math.abs(at - this.placeOf(part.start)) < NEAR) return part.end;
    return Math.abs(at - this.placeOf(part.end)) < NEAR ? part.start : null;
  }
  move(event) {
    const { hand, player } = this, x = event.clientX;
    if (event.pointerType === "mouse") this.tell(x);
    if (!hand || !this.pointers.has(event.pointerId)) return;
    this.pointers.set(event.pointerId, x);
    if (hand.kind === "press" && Math.abs(x - hand.x) > STILL) {
      clearTimeout(this.timer);
      hand.kind = event.pointerType !== "touch" ? "select" : this.isWhole ? "scrub" : "pan";
    }
    const by = (x - hand.x) / this.canvas.clientWidth * (hand.to - hand.from);
    if (hand.kind === "select") player.select(hand.time, this.timeAt(x));
    else if (hand.kind === "scrub") player.seek(this.timeAt(x));
    else if (hand.kind === "pan") this.look(hand.from - by, hand.to - by);
    else if (hand.kind === "pinch" && this.pointers.size === 2) this.pinch(hand);
  }
  pinch(hand) {
    const [one, two] = this.pointers.values(), edge = this.canvas.getBoundingClientRect();
    const span = (hand.to - hand.from) * hand.wide / Math.max(Math.abs(one - two), 1), part = ((one + two) / 2 - edge.left) / edge.width;
    this.look(hand.time - part * span, hand.time + (1 - part) * span);
  }
  release(event) {
    clearTimeout(this.timer);
    if (!this.pointers.delete(event.pointerId)) return;
    if (event.type === "pointerup" && this.hand?.kind === "press") this.player.seek(this.timeAt(event.clientX));
    if (!this.pointers.size) this.hand = null;
  }
  tell(x) {
    const edge = this.canvas.getBoundingClientRect(), time = this.timeAt(x);
    this.hover.hidden = false;
    this.hover.textContent = clock(time, this.span < 60 ? 1 : 0);
    this.hover.style.left = `${Math.min(Math.max(x - edge.left, 30), edge.width - 30)}px`;
  }

  // -- ink --
  renew() {
    this.stale = true;
    this.draw();
    if (this.player.spectrogram) this.fetchSpectrogram();
  }
  draw() {
    if (!this.waiting) this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.paint(); });
  }
  size(canvas) {
    const scale = devicePixelRatio || 1, width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    // Letters and lines grow with those of the page.
    return [width, height, scale * parseFloat(getComputedStyle(document.documentElement).fontSize) / 16];
  }
  paint() {
    const [width, height, scale] = this.size(this.canvas), { player } = this;
    const pen = this.canvas.getContext("2d");
    pen.clearRect(0, 0, width, height);
    if (!width || !player.levels?.length) return;
    if (this.stale || this.picture.width !== width || this.picture.height !== height) this.repaint(width, height, scale);
    const place = (time) => (time - this.from) / this.span * width, now = place(player.audio.currentTime);
    const lit = Math.min(Math.max(Math.round(now), 0), width), axis = Math.round(AXIS * scale);
    if (player.spectrogram) pen.drawImage(this.picture, 0, 0);
    else {
      // What has been played is bright.
      if (lit > 0) pen.drawImage(this.picture, 0, 0, lit, height, 0, 0, lit, height);
      pen.globalAlpha = matchMedia("print").matches ? 1 : 0.55;
      if (lit < width) pen.drawImage(this.picture, lit, 0, width - lit, height, lit, 0, width - lit, height);
      pen.globalAlpha = 1;
    }
    pen.drawImage(this.over, 0, 0);
    if (player.part) {
      const [first, last] = [place(player.part.start), place(player.part.end)];
      pen.fillStyle = this.ink.accent;
      pen.globalAlpha = 0.22;
      pen.fillRect(first, 0, last - first, height - axis);
      pen.globalAlpha = 1;
      for (const x of [first, last]) pen.fillRect(x - scale, 0, 2 * scale, height - axis);
      for (const x of [first, last]) pen.fillRect(x - 4 * scale, (height - axis) / 2 - 10 * scale, 8 * scale, 20 * scale);
    }
    pen.fillStyle = player.spectrogram && this.images.length ? "#fff" : this.ink.ink;
    if (now >= 0 && now <= width) pen.fillRect(Math.min(now, width - scale) - scale, 0, 2 * scale, height - axis);
    this.paintOverview();
  }
  colours() {
    const style = getComputedStyle(this.player.box);
    this.ink = Object.fromEntries(["caller", "called", "bad", "line", "soft", "ink", "accent", "ground", "card"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    this.font = style.fontFamily;
  }
  repaint(width, height, scale) {
    this.stale = false;
    this.colours();
    for (const canvas of [this.picture, this.over]) Object.assign(canvas, { width, height });
    const pen = this.picture.getContext("2d"), over = this.over.getContext("2d"), high = height - Math.round(AXIS * scale);
    const covered = this.player.spectrogram && this.images.some((each) => each.from <= this.from && each.to >= this.to);
    if (!covered) this.paintLegs(pen, width, high, this.from, this.to);
    if (this.player.spectrogram) this.paintSpectrogram(pen, width, high);
    this.paintMarks(over, width, high, scale);
    this.paintAxis(over, width, height, scale);
    this.repaintOverview(scale);
  }
  paintLegs(pen, width, height, from, to) {
    const { levels } = this.player, level = levels.choose((to - from) / width), lane = height / levels.channels;
    const loudest = this.loudest ||= this.findLoudest();
    for (let leg = 0; leg < levels.channels; leg++) {
      const middle = lane * (leg + 0.5), reach = lane * 0.46 / loudest;
      pen.fillStyle = leg ? this.ink.called : this.ink.caller;
      for (let x = 0; x < width; x++) {
        const found = levels.extremes(level, leg, from + x / width * (to - from), from + (x + 1) / width * (to - from));
        if (found) pen.fillRect(x, middle - found[1] * reach, 1, Math.max(1, (found[1] - found[0]) * reach));
      }
    }
  }
  // Quiet calls are drawn larger, eightfold at most.
  findLoudest() {
    const [level] = this.player.levels.levels;
    return Math.min(127, Math.max(16, ...Array.from({ length: Math.ceil(level.all.length / 1024) }, (_, n) => level.all.subarray(n * 1024, n * 1024 + 1024).reduce((most, value) => Math.max(most, Math.abs(value)), 0))));
  }
  paintSpectrogram(pen, width, height) {
    for (const { image, from, to } of this.images) {
      const x = (from - this.from) / this.span * width, stop = (to - this.from) / this.span * width;
      pen.drawImage(image, x, 0, stop - x, height);
    }
  }
  // Of what is looked at, as soon as it keeps still; the waveform stands there meanwhile.
  fetchSpectrogram() {
    clearTimeout(this.soon);
    const long = this.player.duration(), [from, to] = this.isWhole ? [0, long] : [Math.floor(this.from), Math.min(Math.ceil(this.to), long)];
    if (this.images.some((each) => each.from === from && each.to === to)) return;
    this.soon = setTimeout(() => {
      const image = new Image();
      image.onload = () => {
        const isWhole = from === 0 && to === long;
        // One of the whole is kept behind the last part.
        this.images = [...this.images.filter((each) => each.isWhole && !isWhole), { image, from, to, isWhole }];
        this.stale = true;
        this.draw();
      };
      image.src = this.player.box.dataset.spectrogram + (this.isWhole ? "" : `?start=${from}&end=${to.toFixed(3)}`);
    }, this.images.length ? 300 : 0);
  }
  paintMarks(pen, width, height, scale) {
    const { marks } = this.player, lane = height / this.player.levels.channels, place = (time) => (time - this.from) / this.span * width;
    if (!marks) return;
    const seen = (start, end) => end >= this.from && start <= this.to;
    pen.strokeStyle = this.ink.soft;
    pen.lineWidth = scale;
    pen.globalAlpha = 0.35;
    for (const [start, end] of marks.quiet) if (seen(start, end)) this.hatch(pen, place(start), place(end), height, 9 * scale);
    pen.globalAlpha = 1;
    for (const [leg, start, end, kind] of marks.gaps) {
      if (kind !== "loss" || !seen(start, end)) continue;
      const x = place(start), wide = Math.max(place(end) - x, scale);
      pen.fillStyle = this.ink.bad;
      pen.fillRect(x, lane * leg + 1, wide, 4 * scale);
      pen.fillRect(x, lane * (leg + 1) - 4 * scale - 1, wide, 4 * scale);
      pen.globalAlpha = 0.25;
      pen.fillRect(x, lane * leg, wide, lane);
      pen.globalAlpha = 1;
    }
    this.paintDigits(pen, lane, scale, place, seen);
  }
  hatch(pen, from, to, height, step) {
    if (to - from < 2) return;
    pen.save();
    pen.beginPath();
    pen.rect(from, 0, to - from, height);
    pen.clip();
    pen.beginPath();
    for (let x = Math.floor((from - height) / step) * step; x < to; x += step) {
      pen.moveTo(x, height);
      pen.lineTo(x + height, 0);
    }
    pen.stroke();
    pen.restore();
  }
  paintDigits(pen, lane, scale, place, seen) {
    pen.font = `600 ${11 * scale}px ${this.font}`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    const reached = [-Infinity, -Infinity];
    for (const [leg, start, long, digit] of this.player.marks.digits) {
      if (!seen(start, start + long)) continue;
      const x = place(start), wide = Math.max(16 * scale, pen.measureText(digit).width + 8 * scale);
      pen.fillStyle = this.ink.ink;
      pen.fillRect(x, lane * leg, scale, lane);
      // Where they lie closer than their labels are wide, lines are left of the later ones.
      if (x < reached[leg] + 2 * scale) continue;
      const top = lane * leg + (leg ? lane - 20 * scale : 20 * scale);
      pen.beginPath();
      pen.roundRect(x, top, wide, 16 * scale, 4 * scale);
      pen.fill();
      pen.fillStyle = this.ink.card;
      pen.fillText(digit, x + wide / 2, top + 8.5 * scale);
      reached[leg] = x + wide;
    }
  }
  paintAxis(pen, width, height, scale) {
    const wanted = this.span / Math.max(width / scale / 90, 1), step = STEPS.find((each) => each >= wanted) || 3600 * Math.ceil(wanted / 3600);
    pen.fillStyle = this.ink.soft;
    pen.font = `${11 * scale}px ${this.font}`;
    pen.textBaseline = "bottom";
    for (let n = Math.ceil(this.from / step); n * step <= this.to; n++) {
      const x = (n * step - this.from) / this.span * width, text = clock(n * step, step < 1 ? 1 : 0), half = pen.measureText(text).width / 2;
      pen.fillRect(x, height - AXIS * scale, scale, 4 * scale);
      pen.textAlign = "center";
      pen.fillText(text, Math.min(Math.max(x, half), width - half), height - scale);
    }
  }
  repaintOverview(scale) {
    const [width, height] = this.size(this.overview), { levels, marks, length } = this.player;
    if (!width) return;
    Object.assign(this.small, { width, height });
    const pen = this.small.getContext("2d"), [level] = levels.levels, middle = height / 2, reach = middle * 0.9 / (this.loudest || 127);
    for (let leg = 0; leg < levels.channels; leg++) {
      pen.fillStyle = leg ? this.ink.called : this.ink.caller;
      for (let x = 0; x < width; x++) {
        const found = levels.extremes(level, leg, x / width * length, (x + 1) / width * length), tall = Math.max(scale / 2, Math.max(found[1], -found[0]) * reach);
        pen.fillRect(x, leg ? middle : middle - tall, 1, tall);
      }
    }
    pen.fillStyle = this.ink.bad;
    for (const [leg, start, end, kind] of marks?.gaps || []) if (kind === "loss") pen.fillRect(start / length * width, leg ? height - 3 * scale : 0, Math.max((end - start) / length * width, scale), 3 * scale);
    pen.fillStyle = this.ink.ink;
    for (const [leg, start] of marks?.digits || []) pen.fillRect(start / length * width, leg ? middle : 0, scale, middle);
  }
  paintOverview() {
    const { overview, player } = this, { width, height } = overview, pen = overview.getContext("2d"), length = player.duration(), scale = devicePixelRatio || 1;
    pen.clearRect(0, 0, width, height);
    if (!this.small.width) return;
    pen.globalAlpha = 0.8;
    pen.drawImage(this.small, 0, 0);
    const first = this.from / length * width, last = this.to / length * width;
    if (!this.isWhole) {
      pen.globalAlpha = 0.65;
      pen.fillStyle = this.ink.ground;
      pen.fillRect(0, 0, first, height);
      pen.fillRect(last, 0, width - last, height);
      pen.globalAlpha = 1;
      pen.strokeStyle = this.ink.accent;
      pen.lineWidth = 2 * scale;
      pen.strokeRect(first + scale, scale, Math.max(last - first - 2 * scale, 4 * scale), height - 2 * scale);
    }
    pen.globalAlpha = 1;
    if (player.part) {
      pen.fillStyle = this.ink.accent;
      pen.fillRect(player.part.start / length * width, height - 3 * scale, Math.max((player.part.end - player.part.start) / length * width, 2 * scale), 3 * scale);
    }
    pen.fillStyle = this.ink.ink;
    pen.fillRect(player.audio.currentTime / length * width - scale / 2, 0, scale, height);
  }
}
