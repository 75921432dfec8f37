// What both pages do: keys, light and dark, and one sentence after an error.

const DARK = matchMedia("(prefers-color-scheme: dark)");

// Call keys[KEY](event) for a key, unless the focused element uses the key itself.
function connectKeys(keys) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!(key in keys) || event.target.matches("select")) return;
    if (key === " " && event.target.matches("button, [type=checkbox]")) return;
    event.preventDefault();
    keys[key](event);
  });
}

// Let the button and the system choose the colors, and call `draw` when these have changed.
function connectTheme(draw) {
  const repaint = () => {
    readColors();
    draw();
  };
  document.getElementById("theme").addEventListener("click", () => {
    const chosen = document.documentElement.style.colorScheme;
    const dark = chosen ? chosen === "dark" : DARK.matches;
    document.documentElement.style.colorScheme = dark ? "light" : "dark";
    repaint();
  });
  DARK.addEventListener("change", repaint);
}

// Show what is there for a browser without scripts, below one sentence.
function showFailure(error) {
  document.documentElement.classList.remove("scripted");
  const place = document.getElementById("failed");
  const reason = String(error.message || error).replace(/\.$/, "");
  place.textContent = `This page cannot be played here: ${reason}.`;
  place.hidden = false;
}
