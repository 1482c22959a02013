// Peaks of several resolutions in one file (callreplay.outputs.zoom), fetched by ranges: the coarsest at once, of finer
// ones what is looked at.
const HEAD = 65536, TILE = 16384;

export class Refused extends Error {
  constructor(answer) {
    super(String(answer.status));
    this.answer = answer;
  }
}

export class Levels {
  // `changed` is called when more of the file has come, `failed` with a Refused or a network's error.
  constructor(address, changed, failed) {
    Object.assign(this, { address, changed, failed });
    this.levels = [];
    this.tiles = new Map();
  }
  async open() {
    const octets = await this.fetch(0, HEAD), view = new DataView(octets);
    this.rate = view.getUint32(8, true);
    this.channels = view.getUint32(12, true);
    this.frames = Number(view.getBigUint64(16, true));
    const count = view.getUint32(24, true);
    for (let n = 0; n < count; n++) {
      const at = 32 + 16 * n;
      const level = { n, samples: view.getUint32(at, true), pixels: view.getUint32(at + 4, true), place: Number(view.getBigUint64(at + 8, true)) };
      this.levels.push(level);
      // What has come already needs no fetching; the first level always has.
      const width = 2 * this.channels, there = Math.floor((octets.byteLength - level.place) / width);
      if (there >= level.pixels) level.all = new Int8Array(octets, level.place, level.pixels * width);
    }
    this.length = this.frames / this.rate;
  }
  async fetch(from, size) {
    const answer = await fetch(this.address, { headers: { range: `bytes=${from}-${from + size - 1}` } });
    if (!answer.ok) throw new Refused(answer);
    const octets = await answer.arrayBuffer();
    // Who knows nothing of ranges answers with the whole.
    return answer.status === 206 ? octets : octets.slice(from, from + size);
  }
  // The coarsest level that is fine enough for `seconds` a pixel of the screen.
  choose(seconds) {
    return this.levels.find((level) => level.samples / this.rate <= seconds) || this.levels.at(-1);
  }
  // Lowest and highest of `leg` between two times, -128 to 127; null where nothing has come yet.
  extremes(level, leg, from, to) {
    for (let at = level.n; at >= 0; at--) {
      const found = this.within(this.levels[at], leg, from, to);
      if (found) return found;
    }
    return null;
  }
  within(level, leg, from, to) {
    const scale = this.rate / level.samples;
    const first = Math.max(0, Math.floor(from * scale)), stop = Math.min(level.pixels, Math.max(first + 1, Math.floor(to * scale)));
    let low = 0, high = 0;
    for (let pixel = first; pixel < stop; pixel++) {
      const [values, offset] = level.all ? [level.all, 0] : this.tile(level, Math.floor(pixel / TILE));
      if (!values) return null;
      const at = 2 * ((pixel - offset) * this.channels + leg);
      if (values[at] < low) low = values[at];
      if (values[at + 1] > high) high = values[at + 1];
    }
    return [low, high];
  }
  tile(level, number) {
    const key = `${level.n} ${number}`, offset = number * TILE, width = 2 * this.channels;
    let tile = this.tiles.get(key);
    if (!tile) {
      this.tiles.set(key, tile = [null, offset]);
      this.fetch(level.place + offset * width, Math.min(TILE, level.pixels - offset) * width).then(
        (octets) => { tile[0] = new Int8Array(octets); this.changed(); },
        (error) => { this.tiles.delete(key); this.failed(error); },
      );
    }
    return tile;
  }
}
