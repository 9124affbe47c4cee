// SPDX-License-Identifier: MIT
// validate.mjs TOOLS < objects.json: looks at Kubernetes objects as the API server would.  objects.json is a list of
// lists of objects; what is printed is a list, one entry for each list, of lists of "KIND/NAME: what is wrong".
//
// Two libraries, for neither does it all: kubernetes-models knows types, enums and what must be there, but lets
// unknown fields pass and knows what is long gone; of the client library only the tables of fields are used.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';

const modules = join(process.argv[2], 'node_modules');
const load = (path) => import(pathToFileURL(join(modules, path)));
const tables = await load('@kubernetes/client-node/dist/gen/models/all.js');
const packages = { 'monitoring.coreos.com/v1': '@kubernetes-models/prometheus-operator' };

async function modelOf({ apiVersion, kind }) {
	try {
		return (await load(`${packages[apiVersion] ?? 'kubernetes-models'}/${apiVersion}/${kind}.js`))[kind];
	} catch {
		return undefined;
	}
}

// "V1Deployment" for apps/v1 Deployment.
function tableOf({ apiVersion, kind }) {
	const version = apiVersion.split('/').pop();
	return version[0].toUpperCase() + version.slice(1) + kind;
}

// ---- Unknown fields, by the client library's tables ------------------------------------------------

// "V1PodSpec" for "Array<V1PodSpec>" and "{ [key: string]: V1PodSpec; }".
const inner = (type) => type.replace(/^Array<(.*)>$/, '$1').replace(/^\{ \[key: string\]: (.*); \}$/, '$1');

function* unknownFields(value, type, path) {
	if (value === null || typeof value !== 'object')
		return;
	const below = inner(type);
	const fields = tables[below]?.getAttributeTypeMap?.();
	if (below !== type) {
		for (const key of Object.keys(value))
			yield* unknownFields(value[key], below, `${path}.${key}`);
		return;
	}
	for (const key of fields === undefined ? [] : Object.keys(value)) {
		const field = fields.find((f) => f.baseName === key);
		if (field === undefined)
			yield `unknown field ${path}.${key}`;
		else
			yield* unknownFields(value[key], field.type, `${path}.${key}`);
	}
}

// ---- Unknown fields of kinds that only kubernetes-models has ---------------------------------------

// The same value, but it remembers which keys are looked at.  A key that the validator of its type never asks for
// is none of that type's.
function watched(value, path, unread) {
	if (value === null || typeof value !== 'object')
		return value;
	const copy = Array.isArray(value) ? [] : {};
	for (const key of Object.keys(value)) {
		copy[key] = watched(value[key], `${path}.${key}`, unread);
		if (!Array.isArray(value))
			unread.add(`${path}.${key}`);
	}
	return new Proxy(copy, {
		get(target, key) {
			unread.delete(`${path}.${String(key)}`);
			return target[key];
		},
		ownKeys(target) {
			for (const key of Object.keys(target))
				unread.delete(`${path}.${key}`);
			return Reflect.ownKeys(target);
		},
	});
}

// ---- One object ------------------------------------------------------------------------------------

async function look(object) {
	const Model = await modelOf(object);
	const table = tables[tableOf(object)];
	if (Model === undefined || (table === undefined && packages[object.apiVersion] === undefined))
		return [`${object.apiVersion} ${object.kind} is not known`];
	const found = table === undefined ? [] : [...unknownFields(object, tableOf(object), object.kind)];
	const unread = new Set();
	try {
		const model = new Model(object);
		if (table === undefined)
			model.spec = watched(object.spec, `${object.kind}.spec`, unread);
		model.validate();
		found.push(...[...unread].map((path) => `unknown field ${path}`));
	} catch (error) {
		found.push(error.message);
	}
	return found;
}

async function lookAll(objects) {
	const found = await Promise.all(objects.map(look));
	return found.flatMap((lines, i) => lines.map((line) => `${objects[i].kind}/${objects[i].metadata?.name}: ${line}`));
}

const lists = JSON.parse(readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify(await Promise.all(lists.map(lookAll))));
