// Renews the page each second, but not under a finger.
setInterval(async () => {
  if (document.hidden || document.querySelector("button:active")) return;
  try {
    const page = new DOMParser().parseFromString(await (await fetch("/")).text(), "text/html");
    document.querySelector("main").replaceWith(page.querySelector("main"));
  } catch {
    // The service has ended, or is busy: the next second tells.
  }
}, 1000);
