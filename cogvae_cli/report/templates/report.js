"use strict";
document.documentElement.classList.add("js");

// Sliders over a frame: left of the handle the first picture, right of it the second.
for (const figure of document.querySelectorAll(".compare")) {
  const stage = figure.querySelector(".stage");
  const slider = figure.querySelector("input");
  const show = () => {
    stage.style.setProperty("--at", `${slider.value}%`);
    slider.setAttribute("aria-valuetext", `${slider.value} percent`);
  };
  const follow = (event) => {
    const box = stage.getBoundingClientRect();
    slider.value = String(Math.round((100 * (event.clientX - box.left)) / box.width));
    show();
  };
  slider.addEventListener("input", show);
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    follow(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (event.buttons) follow(event);
  });
  show();
}

// Two films in step: the first one leads, and the second one is put right when it is off by half a frame.
const films = document.querySelector(".films");
if (films) {
  const [lead, other] = films.querySelectorAll("video");
  const rate = Number(films.dataset.rate);
  const last = Number(films.dataset.frames) - 1;
  const play = document.getElementById("play");
  const slider = document.getElementById("frame");
  const told = document.getElementById("frame-figures");
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const cursors = document.querySelectorAll('[data-chart="psnr"] .cursor, [data-chart="ssim"] .cursor, [data-chart="vmaf"] .cursor, [data-chart="xpsnr_y"] .cursor');

  const figure = (name, digits, unit) => {
    const value = figures[name][Number(slider.value)];
    return value === undefined || value === null ? "–" : value.toFixed(digits) + unit;
  };
  const tell = () => {
    const frame = Number(slider.value);
    told.textContent = `${frame} of ${last}: PSNR ${figure("psnr", 2, " dB")}, SSIM ${figure("ssim", 4, "")}`;
    for (const cursor of cursors) {
      cursor.removeAttribute("hidden");
      cursor.setAttribute("d", `M${(1000 * (frame + 0.5)) / (last + 1)} 0V1000`);
    }
  };
  const shown = () => Math.min(last, Math.max(0, Math.floor(lead.currentTime * rate + 0.01)));
  const level = () => {
    if (Math.abs(other.currentTime - lead.currentTime) > 0.5 / rate) other.currentTime = lead.currentTime;
  };
  const pause = () => {
    lead.pause();
    other.pause();
    other.currentTime = lead.currentTime;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
  };
  const seek = (frame) => {
    pause();
    slider.value = String(Math.min(last, Math.max(0, frame)));
    lead.currentTime = other.currentTime = (Number(slider.value) + 0.5) / rate;
    tell();
  };
  const tick = () => {
    if (lead.paused) return;
    level();
    slider.value = String(shown());
    tell();
    requestAnimationFrame(tick);
  };
  const start = async () => {
    if (lead.ended || Number(slider.value) === last) lead.currentTime = 0;
    other.currentTime = lead.currentTime;
    await Promise.all([lead.play(), other.play()]);
    play.textContent = "Pause";
    play.setAttribute("aria-pressed", "true");
    tick();
  };

  for (const film of [lead, other]) film.controls = false;
  play.addEventListener("click", () => (lead.paused ? start().catch(pause) : pause()));
  document.getElementById("back").addEventListener("click", () => seek(Number(slider.value) - 1));
  document.getElementById("forth").addEventListener("click", () => seek(Number(slider.value) + 1));
  slider.addEventListener("input", () => seek(Number(slider.value)));
  lead.addEventListener("ended", () => {
    pause();
    slider.value = String(last);
    tell();
  });
  tell();
}
