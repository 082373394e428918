'use strict';
(() => {
  // Changes an element into what the server has sent, and leaves alone what is the same: focus, selection and open details stay.
  const morph = (from, to) => {
    if (from.nodeName !== to.nodeName || from.childNodes.length !== to.childNodes.length) { from.replaceWith(to.cloneNode(true)); return; }
    if (from.nodeType === Node.TEXT_NODE) { if (from.data !== to.data) from.data = to.data; return; }
    if (from.nodeType !== Node.ELEMENT_NODE) return;
    for (const {name, value} of [...to.attributes]) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    for (const {name} of [...from.attributes]) if (name !== 'open' && !to.hasAttribute(name)) from.removeAttribute(name);
    const children = [...to.childNodes];
    [...from.childNodes].forEach((child, i) => morph(child, children[i]));
  };
  const update = (element, html) => {
    const to = new DOMParser().parseFromString(html, 'text/html').body;
    const children = [...to.childNodes], old = [...element.childNodes];
    old.slice(children.length).forEach(child => child.remove());
    children.forEach((child, i) => i < old.length ? morph(old[i], child) : element.append(child.cloneNode(true)));
  };
  const lost = document.getElementById('lost'), live = document.getElementById('live');
  const structure = document.documentElement.dataset.structure;
  let source, last = Date.now();
  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource('?format=events');
    source.onmessage = message => {
      const frame = JSON.parse(message.data);
      if (frame.structure !== structure) { location.reload(); return; }
      for (const [id, html] of Object.entries(frame.fragments)) {
        const element = document.getElementById(id);
        if (element) update(element, html);
      }
      last = Date.now();
      live.textContent = 'Live';
      lost.classList.remove('shown');
    };
    source.onerror = () => { if (source && source.readyState === EventSource.CLOSED) { close(); setTimeout(() => location.reload(), 5000); } };
  };
  const close = () => { if (source) source.close(); source = undefined; };
  setInterval(() => {
    if (document.hidden || Date.now() - last < 4000) return;
    live.textContent = 'Not live';
    lost.classList.add('shown');
  }, 1000);
  document.addEventListener('visibilitychange', () => { if (document.hidden) close(); else { last = Date.now(); open(); } });
  addEventListener('pagehide', close);
  addEventListener('pageshow', () => { last = Date.now(); open(); });
  open();
})();
