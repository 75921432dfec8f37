// Canvases: sharp on every screen, in the page's colors. Sizes are CSS pixels.

const COLOR_NAMES = [
  "card", "edge", "text", "muted", "neutral", "negative", "positive", "intact", "ablated",
  "reward", "punishment", "wall", "floor", "agent", "goal", "cue",
];
const colors = {};

// The present colors, light or dark: only the computed style of an element has them.
function readColors() {
  const probe = document.body.appendChild(document.createElement("i"));
  for (const name of COLOR_NAMES) {
    probe.style.color = `var(--${name})`;
    colors[name] = getComputedStyle(probe).color;
  }
  probe.remove();
}

// "rgb(31, 120, 209)" -> [31, 120, 209]
function rgb(color) {
  return color.match(/\d+/g).slice(0, 3).map(Number);
}

// The color between two others, with a share of the second.
function mixed(first, second, share) {
  const [one, two] = [rgb(first), rgb(second)];
  return `rgb(${one.map((part, c) => Math.round(part + share * (two[c] - part)))})`;
}

// Clear the canvas and give it the size it has on the page; its units are CSS pixels.
function pen(canvas, height) {
  const width = canvas.clientWidth;
  const sharpness = window.devicePixelRatio || 1;
  height ??= width;
  canvas.width = Math.round(width * sharpness);
  canvas.height = Math.round(height * sharpness);
  canvas.style.height = height + "px";
  const context = canvas.getContext("2d");
  context.setTransform(sharpness, 0, 0, sharpness, 0, 0);
  context.font = "11px system-ui, 'DejaVu Sans', sans-serif";
  return { context, width, height };
}

// Matrix entries in [-scale, scale] as blue, neutral, orange, by their square root.
function drawMatrix(canvas, valueAt, rows, columns, scale) {
  const { context, width } = pen(canvas);
  const ends = [rgb(colors.negative), rgb(colors.positive)];
  const neutral = rgb(colors.neutral);
  const picture = new ImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) {
    const value = valueAt(i);
    const end = ends[value < 0 ? 0 : 1];
    const strength = Math.sqrt(Math.min(1, Math.abs(value) / scale));
    for (let c = 0; c < 3; c++) {
      picture.data[4 * i + c] = Math.round(neutral[c] + strength * (end[c] - neutral[c]));
    }
    picture.data[4 * i + 3] = 255;
  }
  const small = new OffscreenCanvas(columns, rows);
  small.getContext("2d").putImageData(picture, 0, 0);
  const cell = width / Math.max(rows, columns);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, cell * columns, cell * rows);
}

// The scene at step t: floor, visits, all cells but the trail's own, the path, and its own cell.
function drawScene(canvas, recording, t) {
  const { context, width } = pen(canvas);
  const { scene } = recording;
  const [, rows, columns] = scene.grid.shape;
  const cell = width / Math.max(rows, columns);
  context.translate((width - columns * cell) / 2, (width - rows * cell) / 2);
  context.fillStyle = colors.floor;
  context.fillRect(0, 0, columns * cell, rows * cell);
  drawVisits(context, scene, t, cell);
  const draw = (wanted) => {
    for (let place = 0; place < rows * columns; place++) {
      const symbol = scene.symbols[scene.grid.data[t * rows * columns + place]];
      if (!wanted(symbol)) continue;
      const lit = symbol.name === scene.goal && recording.rewards.data[t] > 0;
      drawCell(context, symbol, middle(scene, place, cell), cell, lit);
    }
  };
  const isTrail = (symbol) => symbol.name === scene.trail;
  draw((symbol) => !isTrail(symbol));
  drawTrail(context, recording, t, cell);
  draw(isTrail);
}

function middle(scene, place, cell) {
  const columns = scene.grid.shape[2];
  return [((place % columns) + 0.5) * cell, (Math.floor(place / columns) + 0.5) * cell];
}

const CORNERS = {
  up: [[0, -0.36], [0.36, 0.3], [-0.36, 0.3]],
  down: [[0, 0.36], [0.36, -0.3], [-0.36, -0.3]],
  left: [[-0.36, 0], [0.3, -0.36], [0.3, 0.36]],
  right: [[0.36, 0], [-0.3, -0.36], [-0.3, 0.36]],
};

function drawCell(context, symbol, [x, y], cell, lit) {
  const square = (half) => context.fillRect(x - half, y - half, 2 * half, 2 * half);
  context.fillStyle = context.strokeStyle = colors[symbol.color];
  context.globalAlpha = symbol.faint ? 0.35 : 1;
  if (symbol.shape === "block") square(0.5 * cell + 0.6); // so that no line shows between two
  if (symbol.shape === "tile") square(0.42 * cell);
  if (symbol.shape === "disc") disc(context, [x, y], 0.29 * cell);
  if (symbol.shape === "ring") drawRing(context, [x, y], cell, lit);
  if (symbol.shape in CORNERS) {
    context.beginPath();
    for (const [dx, dy] of CORNERS[symbol.shape]) context.lineTo(x + dx * cell, y + dy * cell);
    context.fill();
  }
  context.globalAlpha = 1;
}

// Full at the step that earned a reward, as in films and stills.
function drawRing(context, place, cell, lit) {
  context.lineWidth = 0.1 * cell;
  context.beginPath();
  context.arc(...place, 0.36 * cell, 0, 2 * Math.PI);
  if (lit) context.fill();
  context.stroke();
  disc(context, place, 0.16 * cell);
}

function trailColor(scene) {
  const symbol = scene.symbols.find(({ name }) => name === scene.trail);
  return symbol ? colors[symbol.color] : null;
}

// How often the trail's symbol has been in each cell up to step t.
function drawVisits(context, scene, t, cell) {
  const visits = new Map();
  for (const place of scene.places.data.subarray(0, t + 1)) {
    if (place >= 0) visits.set(place, (visits.get(place) ?? 0) + 1);
  }
  const most = Math.max(1, ...visits.values());
  context.fillStyle = trailColor(scene);
  for (const [place, times] of visits) {
    const [x, y] = middle(scene, place, cell);
    context.globalAlpha = 0.32 * Math.sqrt(times / most);
    context.fillRect(x - cell / 2, y - cell / 2, cell, cell);
  }
  context.globalAlpha = 1;
}

// The path since the last reward, from its first cell to the present one, which has a light edge.
function drawTrail(context, { scene, rewards }, t, cell) {
  let first = t;
  while (first > 0 && !(rewards.data[first - 1] > 0)) first--;
  const places = Array.from(scene.places.data.subarray(first, t + 1)).filter((place) => place >= 0);
  if (!places.length) return;
  const path = places.map((place) => middle(scene, place, cell));
  context.strokeStyle = context.fillStyle = trailColor(scene);
  context.lineWidth = Math.max(2, 0.1 * cell);
  context.lineJoin = context.lineCap = "round";
  context.beginPath();
  for (const [x, y] of path) context.lineTo(x, y);
  context.stroke();
  disc(context, path[0], 0.1 * cell);
  context.fillStyle = colors.card;
  disc(context, path.at(-1), 0.36 * cell);
}

function disc(context, [x, y], radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

// Step t of a sheet of frames, as large as it fits.
function drawFrame(canvas, frames, t) {
  const { context, width } = pen(canvas);
  const index = Math.floor(t / frames.every);
  const scale = Math.min(width / frames.width, width / frames.height);
  const size = [frames.width * scale, frames.height * scale];
  const source = [(index % frames.columns) * frames.width, Math.floor(index / frames.columns) * frames.height];
  context.imageSmoothingEnabled = scale < 2;
  context.drawImage(
    frames.picture, ...source, frames.width, frames.height,
    (width - size[0]) / 2, (width - size[1]) / 2, ...size,
  );
}
