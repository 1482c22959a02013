// 1:02:03.4 of seconds.
export const clock = (seconds, decimals = 0) => {
  const unit = 10 ** decimals, all = Math.floor(seconds * unit + 1e-6), t = Math.floor(all / unit), two = (n) => String(n).padStart(2, "0");
  const rest = decimals ? `.${String(all % unit).padStart(decimals, "0")}` : "", h = Math.floor(t / 3600), m = Math.floor(t / 60) % 60;
  return (h ? `${h}:${two(m)}:${two(t % 60)}` : `${m}:${two(t % 60)}`) + rest;
};
