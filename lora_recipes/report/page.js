const zooms = [...document.querySelectorAll('.zoom')];
const viewer = document.querySelector('dialog');
let shown = 0;
/* What a picture is judged by: the base or your own picture beside what was learned. */
function pair(figure) {
  const strip = figure.closest('.strip');
  const first = figure.matches('.base, .yours');
  const other = strip && strip.querySelector(first ? '.adapter' : '.base');
  if (!other) return [figure];
  return first ? [figure, other] : [other, figure];
}
function show(index) {
  shown = (index + zooms.length) % zooms.length;
  const figures = pair(zooms[shown].closest('figure'));
  viewer.querySelectorAll('figure').forEach((large, place) => {
    large.hidden = place >= figures.length;
    if (large.hidden) return;
    const picture = figures[place].querySelector('img');
    large.querySelector('img').src = picture.src;
    large.querySelector('img').alt = picture.alt;
    large.querySelector('figcaption').textContent = picture.alt;
  });
  if (!viewer.open) viewer.showModal();
}
zooms.forEach((zoom, index) => zoom.addEventListener('click', () => show(index)));
viewer.addEventListener('click', (event) => {
  if (event.target.matches('.previous')) show(shown - 1);
  else if (event.target.matches('.next')) show(shown + 1);
  else viewer.close();
});
viewer.addEventListener('keydown', (event) => {
  if (event.key === 'ArrowRight') show(shown + 1);
  if (event.key === 'ArrowLeft') show(shown - 1);
});
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { /* not allowed where a page is opened as a file */
    const area = document.createElement('textarea');
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}
document.querySelectorAll('.copy').forEach((button) => {
  button.hidden = false;
  button.addEventListener('click', async () => {
    const done = await copy(button.previousElementSibling.textContent);
    button.firstElementChild.textContent = done ? 'Copied' : 'Cannot copy';
    button.focus();
    setTimeout(() => { button.firstElementChild.textContent = 'Copy'; }, 2000);
  });
});
