'use strict';
(() => {
const $ = id => document.getElementById(id);
const data = JSON.parse($('data').textContent);
const {params, lessons, seconds, levels, strip} = data;
const named = address => '#' + (address || 'nothing'); // without any address, the page begins with something to see
const byKey = new Map(params.map(p => [p.key, p]));
const names = ['A', 'B'], classes = ['a', 'b'];

// make returns an element: its attributes, and what is in it.
function make(tag, attributes = {}, ...inside) {
	const e = tag === 'svg' || tag === 'path' || tag === 'rect' || tag === 'g' ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
	for (const [name, value] of Object.entries(attributes)) {
		if (name.startsWith('on')) e.addEventListener(name.slice(2), value);
		else if (value === true) e.setAttribute(name, '');
		else if (value !== false && value != null) e.setAttribute(name, value);
	}
	e.append(...inside.filter(x => x != null));
	return e;
}
function fail(text) { $('trouble').textContent = text; $('trouble').hidden = false; }
function giveUp(why) { // what is for readers without JavaScript is all that there is
	document.documentElement.className = '';
	$('live').hidden = true;
	fail('Nothing can run here: ' + why + '.');
}
let saying = 0;
function say(text, after = 0) { // to those who do not see it
	clearTimeout(saying);
	saying = setTimeout(() => { $('said').textContent = text; }, after);
}
const count = v => Math.round(v).toLocaleString('en');
const share = (part, all) => all ? (100 * part / all).toFixed(1) + ' %' : '–';
const each = r => r.calls ? (r.attempts / r.calls).toFixed(2) : '–';
const time = v => v == null || isNaN(v) ? '–' : v >= 999.5 ? (v / 1000).toFixed(2) + ' s' : v >= 99.5 ? count(v) + ' ms' : v.toPrecision(2) + ' ms';

// The state: the numbers by key, and the trouble by second. Its address is read by Go alone; this writes it.
const values = new Map(params.map(p => [p.key, p.default]));
let timeline = new Array(seconds).fill(0);
function runs(list) {
	let text = '', last = list.length;
	while (last && !list[last - 1]) last--;
	for (let from = 0, until; from < last; from = until) {
		for (until = from + 1; until < last && list[until] === list[from]; until++);
		text += (until > from + 1 ? until - from : '') + String.fromCharCode(97 + list[from]);
	}
	return text;
}
function encode() {
	const items = params.filter(p => values.get(p.key) !== p.default).map(p => p.key + '=' + values.get(p.key));
	const t = runs(timeline);
	return (t ? [...items, 't=' + t] : items).join('&');
}

// The workers, one for each pipeline. One that does not answer any more, or has broken, is replaced.
const patience = 1500; // ms
let module_, id = 0; // the module is a promise: workers start while it is compiled
const sides = names.map((name, side) => ({name, side, about: null, result: null, fresh: 0, ready: false, id: 0, heard: 0,
	succeeded: [], attempts: [], waiting: [], p50: [], p99: [], breaker: []}));
const script = URL.createObjectURL(new Blob([$('worker').textContent], {type: 'text/javascript'}));
function start(s) {
	s.worker?.terminate();
	s.ready = false;
	const worker = s.worker = new Worker(script);
	worker.onmessage = ({data}) => { if (worker === s.worker) hear(s, data); };
	worker.onerror = e => {
		e.preventDefault();
		if (worker === s.worker) broken(s, e.message || 'the browser does not start its worker; perhaps whoever serves this page forbids it (Content-Security-Policy)');
	};
	module_.then(module => worker.postMessage({module}), () => {}); // begin says what is wrong with it
}
function broken(s, why) {
	s.worker.terminate();
	s.worker = null;
	s.ready = false;
	if (s.about) fail(`The simulation of ${s.name} has stopped: ${why}. Any change starts it again.`);
	else giveUp(why);
}
function post(s) {
	s.heard = performance.now();
	s.worker.postMessage({id: s.id, side: s.side, address: s.address});
}
// ask starts both runs anew.
function ask(address) {
	id++;
	clearTimeout(saying);
	$('trouble').hidden = true;
	for (const s of sides) {
		const stuck = s.ready && s.result === null && s.id && performance.now() - s.heard > patience;
		Object.assign(s, {id, address, fresh: 0, result: null, asked: performance.now()});
		if (stuck || !s.worker) start(s);
		else if (s.ready) post(s);
	}
	document.body.dataset.done = '';
	draw();
}
function hear(s, m) {
	s.heard = performance.now();
	if (m.kind === 'ready') {
		s.ready = true;
		if (s.id) post(s);
	} else if (m.kind === 'ended') {
		broken(s, m.why);
	} else if (m.id === s.id) {
		if (m.kind === 'began') began(s, m.about);
		else if (m.kind === 'second') second(s, m.second, m.row);
		else done(s, m.result);
	}
}
function began(s, about) {
	s.about = about;
	if (adopting && s.side === 0) adopt(about);
	code(s);
	draw();
}
function second(s, at, [succeeded, attempts, waiting, p50, p99, breaker]) {
	s.succeeded[at] = succeeded; s.attempts[at] = attempts; s.waiting[at] = waiting; s.p50[at] = p50; s.p99[at] = p99;
	breaker.forEach((state, i) => { s.breaker[at * strip + i] = state; });
	s.fresh = at + 1;
	draw();
}
function done(s, result) {
	s.result = result;
	s.took = performance.now() - s.asked;
	for (const list of [s.succeeded, s.attempts, s.waiting, s.p50, s.p99]) list.length = result.seconds;
	s.breaker.length = result.seconds * strip;
	if (result.problem) fail('The simulation of ' + s.name + ' went wrong: ' + result.problem);
	if (sides.every(s => s.result)) {
		document.body.dataset.hash = sides.map(s => s.result.hash).join(' ');
		document.body.dataset.done = s.id;
		say(sides.map(s => s.name + (s.result.refused ? ' is refused.' : `: ${share(s.result.succeeded, s.result.calls)} succeeded, ${each(s.result)} attempts per call.`)).join(' '), 1000);
	}
	code(s);
	draw();
}

// The address. A change that goes on, such as of a slider that is dragged or whose key is held, is one entry of the history.
let adopting = false, timer = 0, late = null, last = {what: '', until: 0};
function visit(push, address) {
	clearTimeout(timer);
	late = null;
	try { history[push ? 'pushState' : 'replaceState'](null, '', named(address)); } catch { /* a page in a frame may have no history */ }
}
function changed(what, ends) {
	const address = encode(), now = performance.now();
	if (address !== sides[0].address || sides.some(s => !s.worker)) ask(address);
	clearTimeout(timer);
	if (what !== last.what || now > last.until) {
		settle();
		visit(true, address);
	} else { // browsers ignore what comes too often
		late = address;
		timer = setTimeout(settle, 150);
	}
	last = {what, until: ends ? now + 1000 : Infinity};
}
function settle() { if (late !== null) visit(false, late); }
function load() {
	last.what = '';
	late = null;
	clearTimeout(timer);
	adopting = true;
	let address = location.hash.slice(1, 9000) || data.start;
	try { address = decodeURIComponent(address); } catch { /* so it is none of those that mailers have encoded */ }
	const [, lesson, step = 0] = /^lesson=(\d+)(?:&step=(\d+))?$/.exec(address) || [], steps = lessons[lesson - 1]?.steps;
	if (steps) address = place(+lesson, Math.min(step, steps.length - 1)); // which says nothing of the state: that of the step
	ask(address);
}
function adopt(about) {
	adopting = false;
	params.forEach((p, i) => values.set(p.key, about.values[i]));
	timeline = [...about.timeline];
	for (const s of sides) s.address = about.address;
	if (location.hash !== named(about.address)) visit(false, about.address);
	show();
}
function go(address) { // a step of a lesson: a place of its own
	settle();
	if (location.hash === named(address)) load();
	else location.hash = named(address);
}

// Pictures.
const charts = [
	{title: 'Calls that succeed', unit: 'per second', of: s => [s.succeeded], theory: a => [a.succeeded], mean: 'succeeded'},
	{title: 'Attempts', unit: 'per second', of: s => [s.attempts], theory: a => [a.attempts, new Array(seconds).fill(a.capacity)], mean: 'attempts'},
	{title: 'Time that a call takes', unit: 'p99 bold, p50 thin', log: true, of: s => [s.p99, s.p50], theory: a => [new Array(seconds).fill(a.p99), new Array(seconds).fill(a.p50)]},
	{title: 'Requests that wait at the dependency', unit: '', of: s => [s.waiting], theory: () => []},
];
const nice = v => { const size = 10 ** Math.floor(Math.log10(v)); return [1, 2, 4, 5, 10].find(f => f * size >= v * .9999) * size; };
const short = v => v >= 1000 ? +(v / 1000).toPrecision(3) + 'k' : String(+v.toPrecision(3));
const shortTime = v => v >= 1000 ? +(v / 1000).toPrecision(2) + ' s' : +v.toPrecision(2) + ' ms';
function setUp() {
	const axis = () => make('div', {class: 'x', 'aria-hidden': 'true'}, ...['0', '20', '40', '60 s'].map(t => make('span', {}, t)));
	for (const c of charts) {
		c.svg = make('svg', {viewBox: `0 0 ${seconds} 100`, preserveAspectRatio: 'none', role: 'img'});
		c.shade = make('g');
		c.svg.append(c.shade, make('path', {class: 'grid', d: `M0 .5H${seconds}M0 50H${seconds}M0 99.5H${seconds}M20 0V100M40 0V100`}));
		c.lines = sides.map((s, side) => c.of(s).map((_, i) => ['old', ''].map(age => make('path', {class: `${classes[side]} ${i ? 'thin' : ''} ${age}`}))));
		c.dashes = sides.map((s, side) => [0, 1].map(() => make('path', {class: `${classes[side]} theory`})));
		c.svg.append(...c.dashes.flat(), ...c.lines.flat(2));
		c.y = ['', '', ''].map(() => make('span'));
		$('charts').append(make('div', {class: 'chart'}, make('h3', {}, c.title + ' ', make('span', {}, c.unit)), make('div', {class: 'plot'}, make('div', {class: 'y', 'aria-hidden': 'true'}, ...c.y), c.svg, axis())));
	}
	bar.svg = make('svg', {viewBox: `0 0 ${seconds * strip} 40`, preserveAspectRatio: 'none', role: 'img'});
	bar.box = make('div', {class: 'chart wide'}, make('h3', {}, 'Breaker ', make('span', {}, 'low and green: closed, high and red: open, yellow: half-open')),
		make('div', {class: 'plot strip'}, make('div', {class: 'y', 'aria-hidden': 'true'}, ...names.map(n => make('span', {}, n))), bar.svg, axis()));
	$('charts').append(bar.box);
}
const bar = {};
let asked = false;
function draw() {
	if (!asked) { asked = true; requestAnimationFrame(() => { asked = false; paint(); }); }
}
function line(list, from, until, y) {
	let d = '', pen = false;
	for (let i = Math.max(0, from); i < Math.min(until, list.length); i++) {
		const v = list[i];
		if (v == null || isNaN(v)) { pen = false; continue; }
		d += (pen ? 'L' : 'M') + (i + .5) + ' ' + y(v).toFixed(2);
		if (!pen) d += 'h.01';
		pen = true;
	}
	return d;
}
const number = v => v != null && !isNaN(v);
function paint() {
	let drawn = false;
	for (const c of charts) {
		const lists = sides.flatMap(s => [...c.of(s), ...(s.about ? c.theory(s.about) : [])]).flat().filter(number);
		let low = 0, high = nice(Math.max(1, ...lists)), y = v => 99.5 - 99 * v / high, text = short;
		if (c.log) {
			const some = lists.filter(v => v > 0);
			low = 10 ** Math.floor(Math.log10(Math.min(...some, 10)));
			high = 10 ** Math.ceil(Math.log10(Math.max(...some, low * 10)));
			y = v => 99.5 - 99 * Math.log(Math.max(v, low) / low) / Math.log(high / low);
			text = shortTime;
		}
		[high, c.log ? Math.sqrt(low * high) : high / 2, low].forEach((v, i) => { c.y[i].textContent = text(v); });
		sides.forEach((s, side) => {
			const fresh = s.result ? Infinity : s.fresh;
			c.of(s).forEach((list, i) => {
				c.lines[side][i][0].setAttribute('d', s.result ? '' : line(list, s.fresh - 1, seconds, y));
				c.lines[side][i][1].setAttribute('d', line(list, 0, fresh, y));
			});
			const theory = s.about ? c.theory(s.about) : [];
			c.dashes[side].forEach((path, i) => path.setAttribute('d', theory[i] ? line(theory[i], 0, seconds, y) : ''));
			drawn ||= s.fresh > 1;
		});
		const shade = runs(timeline);
		if (c.shaded !== shade) {
			c.shaded = shade;
			c.shade.replaceChildren(...timeline.map((level, i) => level ? make('rect', {class: 'shade', x: i, y: 0, width: 1, height: 100, 'fill-opacity': .25 + .75 * level / levels}) : null).filter(Boolean));
		}
		c.svg.setAttribute('aria-label', c.title + ': ' + sides.map(s => s.name + ' ' + (!s.result ? 'is running' : s.result.refused ? 'is refused'
			: c.mean ? (s.result[c.mean] / Math.max(1, s.result.seconds)).toFixed(1) + ' per second on average'
			: c.log ? 'p50 ' + time(s.result.p50) + ', p99 ' + time(s.result.p99) : 'at most ' + count(Math.max(0, ...s.waiting)))).join('; '));
	}
	const has = side => values.get(classes[side] + '.breaker') === 1;
	bar.box.hidden = !has(0) && !has(1);
	const rects = [], says = [];
	sides.forEach((s, side) => {
		let opened = 0;
		for (let from = 0, until; has(side) && from < s.breaker.length; from = until) {
			for (until = from + 1; until < s.breaker.length && s.breaker[until] === s.breaker[from]; until++);
			const height = [6, 16, 11][s.breaker[from]]; // for those who do not see the colours
			rects.push(make('rect', {class: 's' + s.breaker[from], x: from, y: side * 20 + 18 - height, width: until - from + .05, height}));
			if (s.breaker[from] === 1) opened += until - from;
		}
		says.push(s.name + (has(side) ? ' is open for ' + (opened / strip).toFixed(1) + ' of ' + seconds + ' seconds' : ' has none'));
	});
	bar.svg.replaceChildren(...rects);
	bar.svg.setAttribute('aria-label', 'Breaker: ' + says.join('; '));
	numbers();
	const marks = document.body.dataset; // for tests and benchmarks
	if (drawn) { marks.first ||= performance.now(); marks.painted = id; }
	if (marks.done) marks.finished ||= performance.now();
}
const table = [
	['Calls', r => count(r.calls)], ['Succeeded', r => share(r.succeeded, r.calls)], ['Refused', r => share(r.rejected, r.calls)],
	['Failed', r => share(r.failed, r.calls)], ['Attempts per call', each],
	['p50 of successes', r => time(r.p50)], ['p99', r => time(r.p99)], ['p99.9', r => time(r.p999)],
];
function numbers() {
	const cells = table.map(([name, f]) => [name, ...sides.map(s => s.result ? s.result.refused ? '–' : f(s.result) : '…')]);
	const text = JSON.stringify(cells) + sides.map(s => s.result?.hash).join();
	if (numbers.text === text) return;
	numbers.text = text;
	$('numbers').tBodies[0].replaceChildren(...cells.map(([name, ...rest]) => make('tr', {}, make('th', {scope: 'row'}, name), ...rest.map((t, i) => make('td', {class: classes[i]}, t)))));
	if (!sides.every(s => s.result)) return;
	const formulas = [...new Set(sides.flatMap(s => s.about ? s.about.formulas : []))];
	$('status').textContent = [...sides.map(s => s.result.refused ? `${s.name} is refused.` : `${s.name}: ${count(s.result.events)} events in ${count(s.took)} ms, hash ${s.result.hash}.` +
		(s.result.cut ? ` It ends after ${s.result.seconds} s: ${s.result.cut}.` : '')), formulas.length ? 'Dashed: ' + formulas.join('; ') + '.' : ''].join(' ');
}

// Code.
function code(s) {
	const box = $('code').children[s.side];
	const refused = s.result?.refused || '';
	if (!s.about || box.text === s.about.json + refused) return;
	box.text = s.about.json + refused;
	const copy = (what, text) => make('button', {type: 'button', 'aria-label': `Copy ${s.name} as ${what}`, onclick: e => clip(e.target, 'Copy ' + what, text)}, 'Copy ' + what);
	const open = box.querySelector('details')?.open;
	box.replaceChildren(...[make('div', {class: 'bar'}, make('h2', {}, 'Pipeline ' + s.name), make('span', {class: 'presets'}, copy('Go', s.about.go), copy('JSON', s.about.json))),
		refused ? make('p', {class: 'refused'}, 'Compose refuses this pipeline: ' + refused) : null,
		make('pre', {tabindex: 0, 'aria-label': 'Go'}, s.about.go),
		make('details', {open}, make('summary', {}, 'The same as JSON, for policyconfig'), make('pre', {tabindex: 0, 'aria-label': 'JSON'}, s.about.json))].filter(Boolean));
}
async function clip(button, name, text) {
	let copied = true;
	try {
		await navigator.clipboard.writeText(text);
	} catch {
		const area = make('textarea', {class: 'hide'});
		area.value = text;
		document.body.append(area);
		area.select();
		copied = document.execCommand('copy');
		area.remove();
		button.focus();
	}
	button.textContent = copied ? 'Copied' : 'Not allowed';
	say(button.textContent);
	clearTimeout(button.timer);
	button.timer = setTimeout(() => { button.textContent = name; }, 1200);
}

// Controls.
let shownSide = 0, updates = [];
function set(key, value, ends) {
	if (values.get(key) === value && !ends) return;
	values.set(key, value);
	refresh();
	changed(key, ends);
}
const fit = (p, v) => Math.round(Math.min(p.high, Math.max(p.low, Math.round(v / p.step) * p.step)) * 1000) / 1000;
function control(p) {
	const name = 'c-' + p.key;
	const label = p.switch && listed ? names[classes.indexOf(p.key[0])] + ': ' + p.label : p.label;
	if (p.switch) {
		const box = make('input', {type: 'checkbox', id: name, 'data-key': p.key, onchange: e => set(p.key, e.target.checked ? 1 : 0, true)});
		updates.push(() => { box.checked = values.get(p.key) === 1; });
		return make('label', {}, box, ' ' + label);
	}
	if (p.choices) {
		const select = make('select', {id: name, 'data-key': p.key, onchange: e => set(p.key, +e.target.value, true)}, ...p.choices.map((c, i) => make('option', {value: i}, c)));
		updates.push(() => { select.value = values.get(p.key); });
		return make('div', {class: 'row'}, make('label', {for: name}, label), select);
	}
	const most = p.log ? 400 : (p.high - p.low) / p.step;
	const at = v => p.log ? Math.round(most * Math.log(v / p.low) / Math.log(p.high / p.low)) : Math.round((v - p.low) / p.step);
	const value = i => {
		if (!p.log) return fit(p, p.low + i * p.step);
		const v = p.low * (p.high / p.low) ** (i / most), digits = 10 ** Math.max(0, Math.floor(Math.log10(v)) - 1);
		return fit(p, Math.round(v / digits) * digits);
	};
	const out = make('b', {'aria-hidden': 'true'}); // the slider says it
	let held = p.default;
	const input = make('input', {
		type: 'range', id: name, min: 0, max: most, 'data-key': p.key,
		oninput: () => {
			const before = values.get(p.key), from = at(before);
			let v = value(+input.value);
			if (v === before && +input.value !== from) v = fit(p, before + Math.sign(+input.value - from) * p.step); // one press of a key is one step
			set(p.key, v, false);
		},
		onchange: () => set(p.key, values.get(p.key), true),
		onpointerdown: () => { held = values.get(p.key); },
		onpointercancel: () => set(p.key, held, true), // a finger that scrolls the page
	});
	updates.push(() => {
		const v = values.get(p.key);
		if (value(+input.value) !== v) input.value = at(v);
		out.textContent = v === 0 && p.zero ? p.zero : v + (p.unit ? ' ' + p.unit : '');
		input.setAttribute('aria-valuetext', out.textContent);
	});
	return make('div', {class: 'row'}, make('label', {for: name}, make('span', {}, label), out), input);
}
function refresh() { for (const update of updates) update(); }
let listed = null; // the keys that a lesson shows; null: all
function inGroup(group) { return params.filter(p => p.group === group && (!listed || listed.includes(p.key))); }
function fieldset(legend, list, when) {
	if (!list.length) return null;
	const rows = list.map(p => { const row = control(p); const w = when && when(p); if (w) updates.push(() => { row.hidden = !w(); }); return row; });
	return make('fieldset', {}, make('legend', {}, legend), ...rows);
}
function policy(side, name) {
	const all = inGroup(side + '.' + name), main = all.find(p => p.switch);
	if (!all.length) return null;
	const rest = all.filter(p => p !== main).map(control);
	const box = make('div', {}, ...rest);
	const title = main ? control(main) : names[classes.indexOf(side)] + ': ' + byKey.get(side + '.' + name).label;
	const set = make('fieldset', {}, make('legend', {}, title), box);
	updates.push(() => {
		box.hidden = !rest.length || main != null && values.get(main.key) !== 1;
		set.classList.toggle('off', box.hidden);
	});
	return set;
}
const policies = ['total', 'retry', 'hedge', 'breaker', 'throttle', 'limit', 'bulkhead', 'attempt'];
function build() {
	updates = [];
	const is = (key, v) => () => values.get(key) === v;
	const parts = [
		fieldset('Who calls', inGroup('load'), p => listed ? null : ({rate: is('load', 0), clients: () => values.get('load') > 0, think: is('load', 1)})[p.key]),
		fieldset('The dependency', inGroup('service')),
		!listed || listed.includes('t') ? trouble() : null,
	];
	if (listed) {
		for (const side of classes) parts.push(...policies.map(name => policy(side, name)));
	} else {
		const picker = make('div', {class: 'sides', role: 'radiogroup', 'aria-label': 'Which pipeline to change'}, ...classes.map((c, i) =>
			make('label', {class: c}, make('input', {type: 'radio', name: 'side', value: i, checked: i === shownSide, onchange: () => { shownSide = i; boxes.forEach((b, j) => { b.hidden = j !== i; }); }}), 'Pipeline ' + names[i])),
			make('button', {type: 'button', onclick: () => copySide()}, 'Copy it to the other'));
		const boxes = classes.map((c, i) => make('div', {class: 'side', role: 'group', 'aria-label': 'Pipeline ' + names[i], hidden: i !== shownSide}, ...policies.map(name => policy(c, name)).filter(Boolean)));
		parts.push(picker, ...boxes);
	}
	$('controls').replaceChildren(...parts.filter(Boolean));
	refresh();
}
function copySide() {
	const from = classes[shownSide], to = classes[1 - shownSide];
	for (const p of params) if (p.key.startsWith(from + '.')) values.set(to + p.key.slice(1), values.get(p.key));
	refresh();
	changed('copy', true);
}

// The trouble, drawn by dragging or with the arrow keys.
function trouble() {
	const svg = make('svg', {id: 'draw', viewBox: `0 0 ${seconds} ${levels}`, preserveAspectRatio: 'none', tabindex: 0, role: 'slider', 'aria-label': 'Trouble by second', 'aria-describedby': 'keys', 'aria-valuemin': 0, 'aria-valuemax': 100});
	const rects = timeline.map((_, i) => make('rect', {x: i, width: 1})), cursor = make('rect', {class: 'cursor', y: 0, width: 1, height: levels});
	svg.append(...rects, cursor);
	let at = 20, last = null, before = timeline;
	updates.push(() => {
		timeline.forEach((level, i) => { rects[i].setAttribute('y', levels - level); rects[i].setAttribute('height', level); });
		cursor.setAttribute('x', at);
		svg.setAttribute('aria-valuenow', 100 * timeline[at] / levels);
		svg.setAttribute('aria-valuetext', `second ${at}: ${100 * timeline[at] / levels} %`);
	});
	const put = (list, ends) => { timeline = list; refresh(); changed('t', ends); };
	const point = e => {
		const box = svg.getBoundingClientRect();
		const x = Math.min(seconds - 1, Math.max(0, Math.floor((e.clientX - box.left) / box.width * seconds)));
		const y = Math.min(levels, Math.max(0, Math.round((1 - (e.clientY - box.top) / box.height) * levels)));
		const list = [...timeline], from = last ?? {x, y};
		for (let i = Math.min(from.x, x); i <= Math.max(from.x, x); i++) list[i] = x === from.x ? y : Math.round(from.y + (y - from.y) * (i - from.x) / (x - from.x));
		last = {x, y};
		at = x;
		put(list, false);
	};
	svg.addEventListener('pointerdown', e => {
		if (!e.isPrimary || e.button) return;
		svg.setPointerCapture(e.pointerId);
		last = null;
		before = timeline;
		point(e);
	});
	svg.addEventListener('pointermove', e => { if (e.isPrimary && svg.hasPointerCapture(e.pointerId)) point(e); });
	svg.addEventListener('pointercancel', () => put(before, true)); // two fingers zoom
	svg.addEventListener('lostpointercapture', () => changed('t', true));
	svg.addEventListener('keydown', e => {
		const list = [...timeline], step = {ArrowUp: 1, ArrowDown: -1, PageUp: 4, PageDown: -4}[e.key], move = {ArrowLeft: -1, ArrowRight: 1}[e.key];
		if (step) list[at] = Math.min(levels, Math.max(0, list[at] + step));
		else if (move) {
			const next = Math.min(seconds - 1, Math.max(0, at + move));
			if (e.shiftKey) list[next] = list[at];
			at = next;
		} else if (e.key === 'Home') at = 0;
		else if (e.key === 'End') at = seconds - 1;
		else if (e.key === 'Delete' || e.key === 'Backspace') list.fill(0);
		else return;
		e.preventDefault();
		if (step || e.shiftKey || e.key === 'Delete' || e.key === 'Backspace') put(list, true); else refresh();
	});
	const preset = p => make('button', {type: 'button', onclick: () => put([...p.levels], true)}, p.name);
	return make('div', {id: 'timeline'}, make('h3', {}, 'Trouble ', make('span', {class: 'soft'}, 'draw it: 0 to 100 %, over the minute')), svg,
		make('div', {class: 'presets'}, ...data.presets.map(preset)),
		make('p', {class: 'soft', id: 'keys'}, 'Keys: ←→ choose the second, ↑↓ change it, shift ←→ draw on.'));
}

// Lessons.
let shown = '', moved = false; // by a button: the focus goes along
function show() {
	const lesson = lessons[values.get('lesson') - 1];
	const step = lesson ? Math.min(values.get('step'), lesson.steps.length - 1) : 0;
	document.title = (lesson ? lesson.title + ' – ' : '') + 'Resilience playground';
	$('lessons').replaceChildren(...[{title: 'Sandbox'}, ...lessons].map((l, i) => {
		const here = i === (lesson ? values.get('lesson') : 0);
		return make('a', {href: named(i ? place(i, 0) : data.start), 'aria-current': here ? 'page' : null}, l.title);
	}));
	$('lesson').hidden = !lesson;
	listed = lesson ? lesson.steps[step].controls : null;
	if (lesson && !listed?.length) listed = null;
	document.body.classList.toggle('few', !!listed);
	const key = (lesson ? lesson.title : '') + step;
	if (key !== shown) {
		if (lesson) tell(lesson, step);
		if (lesson && moved) $('lesson').querySelector('h2').focus();
		moved = false;
		shown = key;
	}
	build();
	$('controls').inert = false;
	draw();
}
function place(lesson, step) {
	const address = lessons[lesson - 1].steps[step].address;
	return 'lesson=' + lesson + (step ? '&step=' + step : '') + (address ? '&' + address : '');
}
function tell(lesson, step) {
	const n = lessons.indexOf(lesson) + 1, s = lesson.steps[step], last = step === lesson.steps.length - 1;
	const move = to => { moved = true; go(place(n, to)); };
	$('lesson').replaceChildren(...[
		make('h2', {tabindex: -1}, lesson.title + ' ', make('span', {}, `step ${step + 1} of ${lesson.steps.length}`)),
		...(step ? [] : [make('p', {}, make('strong', {}, lesson.idea))]),
		...s.text.map(t => make('p', {}, t)),
		s.look ? make('p', {class: 'look'}, s.look) : null,
		make('div', {class: 'go'},
			make('button', {type: 'button', disabled: !step, onclick: () => move(step - 1)}, 'Back'),
			last ? null : make('button', {type: 'button', class: 'main', onclick: () => move(step + 1)}, 'Next'),
			make('button', {type: 'button', onclick: () => go(place(n, step))}, 'Reset this step')),
		...(last ? [quiz(lesson)] : []),
	].filter(Boolean));
}
function quiz(lesson) {
	return make('div', {class: 'quiz'}, make('h3', {}, 'Three questions'), make('div', {}, ...lesson.quiz.map((q, i) => {
		const out = make('output');
		return make('fieldset', {}, make('legend', {}, q.question), ...q.options.map((o, j) => make('label', {}, make('input', {type: 'radio', name: 'q' + i, onchange: () => {
			out.className = j === q.answer ? 'right' : 'wrong';
			out.textContent = (j === q.answer ? 'Right. ' : 'Not quite. ') + (j === q.answer ? q.why : 'Try the step again, or another answer.');
		}}), ' ' + o)), make('button', {type: 'button', onclick: () => { out.className = 'right'; out.textContent = q.options[q.answer] + ': ' + q.why; }}, 'Show the answer'), out);
	})));
}

// The beginning.
$('skip').addEventListener('click', e => { e.preventDefault(); $('controls').focus(); });
$('controls').addEventListener('submit', e => e.preventDefault());
addEventListener('popstate', load); // a link, a step, or back and forth
function bytes(text) { // five of 85 characters are four bytes
	const alphabet = data.alphabet, code = new Uint8Array(128), out = new Uint8Array(Math.ceil(text.length / 5) * 4), view = new DataView(out.buffer);
	for (let i = 0; i < 85; i++) code[alphabet.charCodeAt(i)] = i;
	for (let i = 0, o = 0; i < text.length; i += 5, o += 4) {
		let v = 0;
		for (let j = 0; j < 5; j++) v = v * 85 + code[text.charCodeAt(i + j)];
		view.setUint32(o, v);
	}
	return out.subarray(0, data.size);
}
async function begin() {
	$('live').hidden = false;
	$('code').append(make('div'), make('div'));
	setUp();
	show();
	$('controls').inert = true;
	if (!globalThis.WebAssembly || !globalThis.DecompressionStream || !globalThis.Worker) throw new Error('the browser is too old for it: it needs WebAssembly and DecompressionStream');
	module_ = Promise.resolve().then(() => { // once the workers have been started
		const inflated = new Blob([bytes($('wasm').textContent)]).stream().pipeThrough(new DecompressionStream('gzip'));
		return WebAssembly.compileStreaming(new Response(inflated, {headers: {'content-type': 'application/wasm'}}));
	});
	sides.forEach(start);
	await module_;
	$('wasm').remove();
	load();
}
window.onerror = null; // of the head of the page
begin().catch(e => giveUp(e.message));
})();
