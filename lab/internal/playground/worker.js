// A worker of the playground: it runs the library as WebAssembly, and tells the page what happens. What Go calls are began,
// second, done, ready and pause; what it offers are ask and resume. wasm_exec.js stands above.
'use strict';
const turns = new MessageChannel(); // a turn of the event loop, without the delay of a timer
turns.port1.onmessage = () => resume();
globalThis.pause = () => turns.port2.postMessage(0);
globalThis.ready = () => postMessage({kind: 'ready'});
globalThis.began = (id, about) => postMessage({kind: 'began', id, about});
globalThis.second = (id, second, ...row) => postMessage({kind: 'second', id, second, row});
globalThis.done = (id, result) => postMessage({kind: 'done', id, result});
onmessage = async ({data}) => {
	if (!data.module) return ask(data.id, data.side, data.address);
	let why = 'its program has ended, see the console';
	try {
		const go = new Go();
		await go.run(await WebAssembly.instantiate(data.module, go.importObject)); // it runs for ever, unless something goes wrong
	} catch (e) {
		why = e.message;
	}
	postMessage({kind: 'ended', why});
};
