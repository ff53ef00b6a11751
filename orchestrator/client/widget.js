// Draws the rows of JobsWidget. Names and messages come from users: they are set as text, never as markup.

const STYLE = `
.ion-jobs { font: 13px/1.5 system-ui, sans-serif; color: inherit; max-width: 46rem; }
.ion-jobs .job { padding: .5rem 0; border-top: 1px solid #8884; }
.ion-jobs .head { display: flex; gap: .75rem; align-items: baseline; }
.ion-jobs .name { font-weight: 600; overflow-wrap: anywhere; }
.ion-jobs .backend { opacity: .65; }
.ion-jobs .status { margin-left: auto; font-weight: 600; color: #6b7280; }
.ion-jobs .started { color: #3b5bdb; } .ion-jobs .completed { color: #2b8a3e; } .ion-jobs .failed { color: #c92a2a; }
.ion-jobs progress { width: 100%; height: .5rem; accent-color: #4f56d3; }
.ion-jobs .message { color: #c92a2a; overflow-wrap: anywhere; }
.ion-jobs .bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: .15rem .6rem; margin-top: .3rem; }
.ion-jobs .label { font-family: ui-monospace, monospace; text-align: right; }
.ion-jobs .track { background: #8882; border-radius: 4px; align-self: center; height: .8rem; }
.ion-jobs .bar { background: #4f56d3; border-radius: 4px; height: 100%; min-width: 1px; }
.ion-jobs .share { text-align: right; opacity: .75; }
`;

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function drawn(job) {
  const box = element("div", "job");
  const head = element("div", "head");
  head.append(
    element("span", "name", job.name || job.id),
    element("span", "backend", job.backend),
    element("span", `status ${job.status}`, job.status),
  );
  box.append(head);
  if (job.status === "started") {
    const progress = element("progress", "");
    if (job.progress !== null) progress.value = job.progress; // without a value it says that something goes on
    box.append(progress);
  }
  if (job.message) box.append(element("div", "message", job.message));
  if (job.histogram.length) {
    const bars = element("div", "bars");
    for (const [label, share, text] of job.histogram) {
      const track = element("div", "track");
      const bar = element("div", "bar");
      bar.style.width = `${100 * share}%`;
      track.append(bar);
      bars.append(element("span", "label", label), track, element("span", "share", text));
    }
    box.append(bars);
  }
  return box;
}

function render({ model, el }) {
  const style = element("style", "", STYLE);
  const root = element("div", "ion-jobs");
  const draw = () => {
    root.replaceChildren(...model.get("jobs").map(drawn));
    if (model.get("problem")) root.append(element("div", "message", model.get("problem")));
  };
  model.on("change:jobs change:problem", draw);
  el.append(style, root);
  draw();
}

export default { render };
