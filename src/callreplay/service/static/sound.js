// Levels of the legs. The caller is the left channel, the called the right one, and each stays there: a leg's level
// changes nothing of the other. The graph is made only when a level is first touched.
export class Sound {
  constructor(audio) {
    this.audio = audio;
    this.levels = [1, 1];
  }
  set(leg, level) {
    this.levels[leg] = level;
    if (!this.gains && level === 1) return;
    if (!this.gains) this.build();
    this.gains.forEach((gain, channel) => { gain.gain.value = this.levels[channel]; });
  }
  build() {
    const context = new AudioContext(), splitter = context.createChannelSplitter(2), merger = context.createChannelMerger(2);
    context.createMediaElementSource(this.audio).connect(splitter);
    this.gains = [0, 1].map((channel) => {
      const gain = context.createGain();
      splitter.connect(gain, channel);
      gain.connect(merger, 0, channel);
      return gain;
    });
    merger.connect(context.destination);
    context.resume();
    this.audio.addEventListener("play", () => context.resume());
  }
}
