// A life: one net in one maze, and what has happened to it since the episode's start.

function newLife(net, maze, start, goal) {
  const life = { net, maze, state: initialState(net), world: newWorld(start, goal) };
  return forgetHistory(life);
}

// Move the reward, but keep what the net has learned. The clock starts again, as in a new episode.
function moveGoal(life, goal) {
  Object.assign(life.world, { goal, steps: 0 });
  return forgetHistory(life);
}

function forgetHistory(life) {
  const last = null; // the last step: from where to where, and whether it reached the reward
  return Object.assign(life, { last, path: [life.world.agent], waits: [], waited: 0 });
}

// Observe, act and learn. The two uniform numbers choose the action, and the cell after a reward.
function liveStep(life, actionUniform, placeUniform, deterministic = false) {
  const { net, maze, state, world } = life;
  const from = world.agent;
  const seen = netStep(net, state, observe(maze, world));
  const { probabilities } = seen;
  const action = deterministic ? mostLikely(probabilities) : sampled(probabilities, actionUniform);
  const moved = advance(maze, world, action, placeUniform);
  life.last = { from, action, ...seen, ...moved };
  life.waited += 1;
  life.path.push(world.agent);
  if (moved.hit) {
    life.waits.push(life.waited);
    life.waited = 0;
    life.path = [world.agent];
  }
  return life.last;
}

// Uniform random numbers in [0, 1), the same for the same seed (the generator "mulberry32").
function randomNumbers(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
