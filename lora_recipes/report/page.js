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
