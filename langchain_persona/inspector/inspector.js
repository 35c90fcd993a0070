// Forms work without this. With it a page changes in place: focus stays, what moved glides, and the change is read out.
const calm = matchMedia("(prefers-reduced-motion: reduce)");
let latest = 0;

const places = () =>
  new Map([...document.querySelectorAll("[data-key]")].map((one) => [one.dataset.key, one.getBoundingClientRect()]));

function glide(before) {
  if (calm.matches || before.size > 300) return;
  for (const one of document.querySelectorAll("[data-key]")) {
    const was = before.get(one.dataset.key), is = one.getBoundingClientRect();
    if (!was) one.animate([{ opacity: 0 }, { opacity: 1 }], 250);
    else if (Math.abs(was.top - is.top) > 1)
      one.animate([{ transform: `translateY(${was.top - is.top}px)` }, { transform: "none" }], { duration: 350, easing: "ease" });
  }
}

function show(html, region) {
  const page = new DOMParser().parseFromString(html, "text/html");
  const fresh = page.getElementById(region), old = document.getElementById(region);
  if (!fresh || !old) return false;
  const before = places(), focus = document.activeElement?.id, gone = focus && old.contains(document.activeElement);
  const open = [...old.querySelectorAll("details[data-keep][open]")].map((one) => one.id);
  old.replaceWith(fresh);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (gone) (document.getElementById(focus) ?? document.getElementById("main")).focus({ preventScroll: true });
  document.title = page.title;
  for (const id of ["status", "alert"]) document.getElementById(id).textContent = page.getElementById(id).textContent;
  glide(before);
  return true;
}

async function send(form, button) {
  const turn = ++latest, data = new URLSearchParams(new FormData(form, button));
  const get = form.method === "get", address = new URL(form.getAttribute("action"), location.href);
  if (get) address.search = data;
  try {
    const answer = await fetch(address, get ? {} : { method: "POST", body: data });
    const html = await answer.text();
    if (turn !== latest) return; // a later one is under way
    if (!show(html, form.dataset.live ?? "main")) location.reload(); // such as a sign-in that has ended
    if (get) history.replaceState(null, "", address);
  } catch {
    document.getElementById("alert").textContent = "The server does not answer. Nothing was changed.";
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" && !form.dataset.live) return;
  event.preventDefault();
  send(form, event.submitter);
});

document.addEventListener("change", (event) => event.target.form?.hasAttribute("data-change") && event.target.form.requestSubmit());

let wait;
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-live]");
  if (!form || event.target.type === "text") return;
  const shown = form.querySelector(`output[for="${event.target.id}"]`);
  if (shown) shown.textContent = event.target.value;
  clearTimeout(wait);
  if (form.checkValidity()) wait = setTimeout(() => send(form), 60);
});
