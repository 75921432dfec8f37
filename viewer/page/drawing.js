// Canvases: sharp on every screen, in the page's colours. Sizes are CSS pixels.

const COLOR_NAMES = [
  "card", "edge", "text", "muted", "neutral", "negative", "positive", "intact", "ablated",
  "reward", "punishment", "wall", "floor", "agent", "goal",
];
const colors = {};

// The colours as they are now, light or dark, which only an element's own style tells.
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

// The canvas at the size it has on the page, cleared, with a pen that measures in CSS pixels.
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

// Matrix entries in [-scale, scale] as blue, neutral, orange; the root, as most entries are small.
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

// Walls, where the agent has been, its way since the last reward, the goal and the agent itself.
function drawMaze(canvas, life, t) {
  const { context, width } = pen(canvas);
  const [rows, columns] = life.walls.shape;
  const cell = width / Math.max(rows, columns);
  const middle = ([row, column]) => [(column + 0.5) * cell, (row + 0.5) * cell];
  const box = (row, column, grow) =>
    context.fillRect(column * cell - grow, row * cell - grow, cell + 2 * grow, cell + 2 * grow);
  context.fillStyle = colors.floor;
  context.fillRect(0, 0, columns * cell, rows * cell);
  const visits = visitsUpTo(life, t);
  const most = Math.max(1, ...visits.values());
  context.fillStyle = colors.agent;
  for (const [place, times] of visits) {
    context.globalAlpha = 0.32 * Math.sqrt(times / most);
    box(Math.floor(place / columns), place % columns, 0);
  }
  context.globalAlpha = 1;
  context.fillStyle = colors.wall;
  for (let i = 0; i < rows * columns; i++) {
    if (life.walls.data[i]) box(Math.floor(i / columns), i % columns, 0.6);
  }
  drawGoal(context, middle(life.goal.data), cell, life.rewards.data[t] > 0);
  const way = wayTo(life, t).map(middle);
  context.strokeStyle = context.fillStyle = colors.agent;
  context.lineWidth = Math.max(2, 0.1 * cell);
  context.lineJoin = context.lineCap = "round";
  context.beginPath();
  way.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
  disc(context, way[0], 0.1 * cell);
  context.fillStyle = colors.card;
  disc(context, way.at(-1), 0.36 * cell);
  context.fillStyle = colors.agent;
  disc(context, way.at(-1), 0.29 * cell);
}

function disc(context, [x, y], radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

function drawGoal(context, place, cell, reached) {
  context.fillStyle = context.strokeStyle = colors.goal;
  context.lineWidth = 0.1 * cell;
  context.beginPath();
  context.arc(...place, 0.36 * cell, 0, 2 * Math.PI);
  if (reached) context.fill(); // at the step that earned, as in films and stills
  context.stroke();
  disc(context, place, 0.16 * cell);
}

function placeAt(life, t) {
  return [life.agent.data[2 * t], life.agent.data[2 * t + 1]];
}

function visitsUpTo(life, t) {
  const visits = new Map();
  for (let i = 0; i <= t; i++) {
    const [row, column] = placeAt(life, i);
    const place = row * life.walls.shape[1] + column;
    visits.set(place, (visits.get(place) ?? 0) + 1);
  }
  return visits;
}

// From where the last reward left the agent to where it stands before step t.
function wayTo(life, t) {
  let first = t;
  while (first > 0 && !(life.rewards.data[first - 1] > 0)) first--;
  return Array.from({ length: t - first + 1 }, (_, i) => placeAt(life, first + i));
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
