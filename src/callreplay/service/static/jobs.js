// The page of jobs looks again every few seconds while one is under way. Without script the page is loaded anew by hand.
import { read } from "./read.js";

const look = async () => {
  const shown = document.getElementById("jobs"), every = Number(shown?.dataset.refresh);
  if (!every) return;
  await new Promise((go) => { setTimeout(go, 1000 * every); });
  // Who is about to press a button, or does not look, is left alone.
  if (!document.hidden && !shown.querySelector("button:focus")) {
    const page = await read(location.href, (answer) => answer.text(), { headers: { accept: "text/html" } });
    const found = page && new DOMParser().parseFromString(page, "text/html").getElementById("jobs");
    if (found) shown.replaceWith(found);
  }
  look();
};
look();
// On a phone the menu is wider than the screen: the page that is open is brought into sight.
document.querySelector(".top nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
