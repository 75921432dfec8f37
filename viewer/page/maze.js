// The grid maze, as in envs/grid_maze.py: the border is wall, a pillar stands where both coordinates
// are even, and the center is free. Free cells are numbered row by row. With `bump` for a move into a
// wall and `hit` for reaching the goal,
//
//     cell' = next[cell, action]        bump = (cell' = cell)        hit = (cell' = goal)
//     reward = goal_reward * hit - wall_penalty * bump - step_penalty
//     cell <- a random free cell other than the goal if hit, else cell'

const MOVES = [[-1, 0], [1, 0], [0, -1], [0, 1]]; // up, down, left, right as [row, column]

// Add the tables of a maze to its options.
function buildMaze(options) {
  const { size } = options;
  const middle = (size - 1) / 2;
  const isWall = (row, column) => {
    const border = [row, column].some((place) => place === 0 || place === size - 1);
    const pillar = row % 2 === 0 && column % 2 === 0;
    return border || (pillar && !(row === middle && column === middle));
  };
  const cells = []; // [row, column] of each free cell
  const index = new Map(); // its number, by row * size + column
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      if (isWall(row, column)) continue;
      index.set(row * size + column, cells.length);
      cells.push([row, column]);
    }
  }
  const cellAt = (row, column) => index.get(row * size + column) ?? null;
  const next = cells.map(([row, column], cell) =>
    MOVES.map(([down, right]) => cellAt(row + down, column + right) ?? cell),
  );
  return { ...options, isWall, cells, cellAt, next, center: cellAt(middle, middle) };
}

// A number in [0, 1) as an integer in 0 .. n - 1.
function integer(uniform, n) {
  return Math.floor(uniform * n);
}

// A random free cell other than the goal, whose number is skipped.
function elsewhere(maze, goal, uniform) {
  const cell = integer(uniform, maze.cells.length - 1);
  return cell + (cell >= goal ? 1 : 0);
}

function newWorld(agent, goal) {
  return { agent, goal, steps: 0, previousAction: null, previousReward: 0 };
}

// The 17 inputs: the 3 x 3 cells around the agent, unused, bias, time, previous reward, previous
// action. They are rounded to single precision, as in Python.
function observe(maze, world) {
  const [row, column] = maze.cells[world.agent];
  const seen = [];
  for (let down = -1; down <= 1; down++) {
    for (let right = -1; right <= 1; right++) seen.push(+maze.isWall(row + down, column + right));
  }
  seen.push(0, 1, world.steps / maze.episode_length, world.previousReward);
  for (let action = 0; action < MOVES.length; action++) seen.push(+(action === world.previousAction));
  return Float32Array.from(seen);
}

// Take one step in place; `uniform` decides the random cell after a hit.
// Returns the reward, the cell that the agent moved to, and whether that was the goal.
function advance(maze, world, action, uniform) {
  const cell = maze.next[world.agent][action];
  const hit = cell === world.goal;
  const bump = cell === world.agent;
  const reward = maze.goal_reward * hit - maze.wall_penalty * bump - maze.step_penalty;
  world.agent = hit ? elsewhere(maze, world.goal, uniform) : cell;
  world.steps += 1;
  world.previousAction = action;
  world.previousReward = reward;
  return { reward, cell, hit };
}
