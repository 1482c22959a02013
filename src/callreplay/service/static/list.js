// The list of calls: plays a call without leaving it, and is walked through by keys. Without script its links do.
document.documentElement.classList.add("scripting");
const one = (choice, within = document) => within.querySelector(choice);
const bar = one(".bar"), sound = bar && one("audio", bar), keys = one("#keys");
const rows = () => [...document.querySelectorAll(".list tbody tr")];
const link = (row) => one("a[id]", row);
let playing = null;

const play = (row) => {
  const start = row && one(".play", row);
  if (!start) return;
  if (playing === row) return void (sound.paused ? sound.play().catch(() => {}) : sound.pause());
  playing?.classList.remove("playing");
  playing = row;
  row.classList.add("playing");
  const uuid = link(row).id.slice(5), cells = ["caller", "called"].map((name) => one(`.c-${name}`, row)?.textContent.trim());
  const text = cells.filter(Boolean).join(" → ") || link(row).textContent;
  one(".what", bar).textContent = text;
  one(".failed", bar).hidden = true;
  sound.src = new URL(`Call/${uuid}/audio`, new URL(link(row).href).origin + new URL(link(row).href).pathname).href;
  bar.hidden = false;
  sound.play().catch(() => {});
};
const close = () => {
  sound.pause();
  sound.removeAttribute("src");
  bar.hidden = true;
  playing?.classList.remove("playing");
  playing = null;
};
const move = (step) => {
  const all = rows(), now = all.findIndex((row) => row.contains(document.activeElement));
  const next = all[now < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(now + step, 0), all.length - 1)];
  if (next) link(next).focus();
};

if (bar) {
  one(".list")?.addEventListener("click", (event) => {
    const start = event.target.closest(".play");
    if (!start || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    play(start.closest("tr"));
  });
  one("[data-do=close]", bar).addEventListener("click", close);
  sound.addEventListener("error", () => { one(".failed", bar).hidden = !sound.getAttribute("src"); });
  for (const name of ["play", "pause", "ended"]) sound.addEventListener(name, () => {
    for (const each of document.querySelectorAll(".play")) {
      const text = each.closest("tr") === playing && !sound.paused ? "❚❚" : "▶";
      each.textContent = text;
    }
  });
  // A menu closes when another thing is clicked, or by Escape.
  document.addEventListener("click", (event) => { for (const menu of document.querySelectorAll(".menu[open]")) if (!menu.contains(event.target)) menu.open = false; });
}
document.addEventListener("keydown", (event) => {
  const at = event.target instanceof Element ? event.target : document.body;
  if (event.key === "Escape") {
    const menu = at.closest(".menu[open]");
    if (menu) { menu.open = false; one("summary", menu).focus(); }
    return;
  }
  if (at.closest("input, textarea, select, [contenteditable]") || event.ctrlKey || event.altKey || event.metaKey) return;
  const details = one(".dialog");
  if (details) {
    const rel = { n: "next", b: "prev" }[event.key], beside = rel && one(`.beside [rel=${rel}]`, details);
    if (beside) location.assign(beside.href);
    return;
  }
  if (!bar || keys.matches(":popover-open")) return;
  const todo = { "/": () => one("#q").focus(), j: () => move(1), k: () => move(-1), p: () => play(at.closest("tr") ?? playing), "?": () => keys.showPopover() }[event.key];
  if (!todo) return;
  event.preventDefault();
  todo();
});
