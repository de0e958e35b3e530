"""The page's style and its few lines of script, inside the package so that code hashes see them."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf8; --card: #ffffff; --ink: #1c1b1a; --soft: #5d5954; --line: #e5e1da;
  --accent: #4f3cc9; --accent-soft: #eeebfc; --good: #1a6b3c; --unsure: #7a5200; --bad: #a32020;
  --mark: #fff3cf; --mark-ink: #5c4300; --shade: 0 1px 2px rgb(40 30 20 / 6%);
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #141416; --card: #1d1d21; --ink: #ecebe8; --soft: #a8a49d; --line: #34343a;
    --accent: #b3a8ff; --accent-soft: #2b2748; --good: #74d69b; --unsure: #f0c36a; --bad: #ff9a94;
    --mark: #3d3313; --mark-ink: #ffe08a; --shade: none;
  }
}
*, *::before, *::after { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body {
  margin: 0 auto; padding: 0 clamp(1rem, 4vw, 2.5rem) 5rem; max-width: 78rem;
  background: var(--paper); color: var(--ink); overflow-wrap: anywhere;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
h1, h2, h3, p, dl, dd, figure, ul { margin: 0; padding: 0; }
h1, h2, h3 { line-height: 1.2; letter-spacing: -0.015em; text-wrap: balance; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
code, pre { font: 0.86em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
small { font-size: 0.8rem; color: var(--soft); }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 0.5rem; background: var(--card); padding: 0.5rem 1rem; z-index: 3; }

header { padding: clamp(2rem, 6vw, 4rem) 0 1.5rem; }
.eyebrow { color: var(--accent); font-size: 0.8rem; font-weight: 650; letter-spacing: 0.08em;
  text-transform: uppercase; }
h1 { font-size: clamp(2rem, 6vw, 3.2rem); font-weight: 750; margin: 0.3rem 0 0.6rem; }
.description { font-size: 1.15rem; max-width: 46rem; }
.byline { color: var(--soft); margin-top: 0.4rem; }
.byline strong { font-weight: 600; color: var(--ink); }

.readings { list-style: none; display: grid; gap: 0.75rem; margin-top: 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
.readings li { display: flex; gap: 0.8rem; padding: 0.9rem 1.1rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 0.75rem; box-shadow: var(--shade); }
.readings strong { display: block; }
.readings div > span { color: var(--soft); font-size: 0.95rem; }
.sign { flex: none; width: 1.6rem; height: 1.6rem; border-radius: 50%; display: grid;
  place-items: center; font-weight: 800; color: var(--card); background: var(--good); }
.unsure .sign { background: var(--unsure); }
.bad .sign { background: var(--bad); }

.tiles { display: grid; gap: 1px; margin-top: 1.25rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 0.75rem; overflow: hidden;
  grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
.tiles div { box-shadow: 0 0 0 1px var(--line); padding: 0.8rem 1.1rem; }
.tiles dt { color: var(--soft); font-size: 0.82rem; }
.tiles dd { font-size: 1.2rem; font-weight: 650; font-variant-numeric: tabular-nums; }

nav { position: sticky; top: 0; z-index: 2; display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem;
  padding: 0.7rem 0; background: var(--paper); border-bottom: 1px solid var(--line); }
nav a { text-decoration: none; font-weight: 550; font-size: 0.95rem; }
nav a:hover { text-decoration: underline; }
section { padding-top: 3rem; }
h2 { font-size: 1.7rem; font-weight: 700; scroll-margin-top: 5rem; }
h3 { font-size: 1.02rem; font-weight: 620; line-height: 1.35; }
.lead { color: var(--soft); max-width: 52rem; margin: 0.4rem 0 1.25rem; }

.cards { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 0.9rem;
  padding: 1rem; box-shadow: var(--shade); min-width: 0; }
.wide { grid-column: 1 / -1; }
.strips { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: 0.8rem; }
.strip { display: grid; gap: 0.5rem; flex: 0 1 calc(var(--count) * 14.2rem);
  grid-template-columns: repeat(var(--count), minmax(0, 1fr)); }
.card:not(.wide) .strip { flex-basis: 100%; }
figure { min-width: 0; }
.zoom { display: block; width: 100%; padding: 0; border: 0; background: none; cursor: zoom-in;
  border-radius: 0.5rem; }
img { display: block; max-width: 100%; height: auto; }
.strip img, .sheet img { width: 100%; border-radius: 0.5rem; background: var(--line); }
.strip figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 0.5rem;
  font-size: 0.85rem; padding-top: 0.25rem; color: var(--soft); }
.strip .adapter figcaption span { color: var(--accent); font-weight: 650; }
.strip .adapter img { outline: 2px solid var(--accent); outline-offset: -2px; }

.charts { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.charts figure, .program, .settings table { background: var(--card); border-radius: 0.9rem;
  border: 1px solid var(--line); box-shadow: var(--shade); }
.charts figure { padding: 1rem; }
.charts figcaption { display: flex; flex-wrap: wrap; justify-content: space-between;
  gap: 0 1rem; }
.legend { display: flex; flex-wrap: wrap; gap: 0 1rem; font-size: 0.85rem; color: var(--soft); }
.key::before { content: ""; display: inline-block; width: 1.1rem; margin-right: 0.4rem;
  vertical-align: 0.25em; border-top: 3px solid var(--accent); }
.key.raw::before { border-color: var(--soft); opacity: 0.5; }
.key.mark::before { border-top: 2px dashed var(--soft); }
.chart { display: block; width: 100%; height: auto; margin-top: 0.5rem; overflow: visible; }
.chart text { font-size: 11px; fill: var(--soft); font-variant-numeric: tabular-nums; }
.chart .grid { stroke: var(--line); stroke-width: 1; }
.chart .mark { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 3 3; opacity: 0.7; }
.chart .line { fill: none; stroke: var(--accent); stroke-width: 2.2; stroke-linejoin: round; }
.chart .line.raw { stroke: var(--soft); stroke-width: 0.9; opacity: 0.45; }
.chart .dot { fill: var(--accent); }

table { border-collapse: collapse; width: 100%; text-align: left; }
caption { text-align: left; }
th, td { padding: 0.35rem 0.9rem; vertical-align: top; border-top: 1px solid var(--line); }
.losses { margin-top: 1.25rem; max-width: 46rem; font-variant-numeric: tabular-nums; }
.losses caption { color: var(--soft); padding-bottom: 0.5rem; }
.losses th, .losses td { padding: 0.45rem 0.6rem 0.45rem 0; }
.losses tbody th { font-weight: 500; }
.losses td, .losses thead th + th { white-space: nowrap; }

h2 + .facts { margin-top: 0.8rem; }
.facts { display: grid; gap: 0.35rem; }
.facts div { display: grid; grid-template-columns: minmax(6rem, 10rem) minmax(0, 1fr);
  gap: 0 1rem; }
.facts dt { color: var(--soft); }
.programs { display: grid; gap: 1rem; margin-top: 1.25rem;
  grid-template-columns: repeat(2, minmax(0, 1fr)); grid-auto-rows: auto 1fr; }
.program:first-child { grid-row: span 3; }
.program { padding: 1rem 1.1rem; min-width: 0; }
.program p { margin-top: 0.3rem; color: var(--soft); }
pre { margin: 0.6rem 0 0; padding: 0.7rem 0.9rem; border-radius: 0.5rem;
  background: var(--paper); border: 1px solid var(--line); white-space: pre-wrap; }

.sheet { display: grid; gap: 1rem 0.75rem; margin: 0.7rem 0 1.8rem;
  grid-template-columns: repeat(auto-fill, minmax(min(44%, 8.5rem), 1fr)); }
.sheet figcaption { font-size: 0.85rem; line-height: 1.35; padding-top: 0.35rem; }
.sheet figcaption small { display: block; }
.sheet figcaption span { display: -webkit-box; -webkit-box-orient: vertical;
  -webkit-line-clamp: 5; overflow: hidden; }
.more { color: var(--soft); }

.settings { columns: 3 20rem; column-gap: 1rem; }
.settings table { break-inside: avoid; margin-bottom: 1rem; border-collapse: separate;
  border-spacing: 0; overflow: hidden; }
.settings caption { font-weight: 650; padding: 0 0.2rem 0.4rem; }
.settings tr:first-child > * { border-top: 0; }
.settings th { font-weight: 450; color: var(--soft); width: 46%; font-size: 0.92rem; }
.settings td { font-size: 0.92rem; font-variant-numeric: tabular-nums; }
.settings td ul { list-style: none; display: grid; gap: 0.35rem; }
.settings td small { display: block; }
.overridden th, .overridden td, .overridden small { background: var(--mark);
  color: var(--mark-ink); }
.overridden td { font-weight: 650; }
.overridden small { font-weight: 400; }

details { margin-top: 0.8rem; border-top: 1px solid var(--line); padding-top: 0.6rem; }
summary { cursor: pointer; font-weight: 600; }
details .facts { margin-top: 0.6rem; }
#identity ~ .facts { margin-top: 1rem; }

dialog { border: 0; padding: 0; margin: auto; background: transparent; color: #fff;
  max-width: 96vw; max-height: 96vh; }
dialog::backdrop { background: rgb(10 10 12 / 88%); }
dialog img { width: min(92vw, 82vh); height: auto; max-height: 82vh; object-fit: contain;
  margin: auto; }
dialog figcaption { padding: 0.7rem 0; text-align: center; max-width: min(92vw, 60rem);
  margin: auto; }
.close { display: block; margin: auto; padding: 0.5rem 1.2rem; border-radius: 99px;
  border: 1px solid #fff8; background: #0006; color: inherit; font: inherit; cursor: pointer; }
@media (max-width: 40rem) {
  .facts div { grid-template-columns: minmax(0, 1fr); }
  .facts div + div { margin-top: 0.4rem; }
  .wide .strip { grid-template-columns: repeat(3, minmax(0, 1fr)); flex-basis: 100%; }
  .wide .strip:not(:has(.snapshot)) { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .strip figcaption small { display: none; }
  .chart text { font-size: 15px; }
  nav { position: static; }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
@media (max-width: 56rem) {
  .programs { grid-template-columns: minmax(0, 1fr); grid-auto-rows: auto; }
  .program:first-child { grid-row: auto; }
}
@media print {
  nav, .skip { display: none; }
  .card, .program, .charts figure { break-inside: avoid; }
}
"""

SCRIPT = """
const pictures = [...document.querySelectorAll('.zoom img')];
const viewer = document.querySelector('dialog');
const large = viewer.querySelector('img');
let shown = 0;
function show(index) {
  shown = (index + pictures.length) % pictures.length;
  large.src = pictures[shown].src;
  large.alt = pictures[shown].alt;
  viewer.querySelector('figcaption').textContent = pictures[shown].alt;
  if (!viewer.open) viewer.showModal();
}
pictures.forEach((picture, index) =>
  picture.parentElement.addEventListener('click', () => show(index)));
viewer.addEventListener('click', () => viewer.close());
viewer.addEventListener('keydown', (event) => {
  if (event.key === 'ArrowRight') show(shown + 1);
  if (event.key === 'ArrowLeft') show(shown - 1);
});
"""
