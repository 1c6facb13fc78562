// What the page does beyond showing itself: colours, local times, fresh figures, charts. All of it is optional: without a script the page says the
// same. Nothing here writes HTML from text, and the policy of the page forbids it.
"use strict";

// ---- colours: before anything is drawn
const storage = {
    get(key) { try { return localStorage.getItem(key); } catch (e) { return null; } },
    set(key, value) { try { localStorage.setItem(key, value); } catch (e) { /* then not beyond this page */ } },
};

function setColours(choice) {
    const root = document.documentElement;
    if (choice === "light" || choice === "dark") root.dataset.colours = choice; else delete root.dataset.colours;
    for (const button of document.querySelectorAll("[data-colours]")) {
        if (button !== root) button.setAttribute("aria-pressed", String(button.dataset.colours === (choice || "auto")));
    }
}
setColours(storage.get("colours"));

function beginColours() {
    const controls = document.querySelector(".controls");
    if (!controls) return;
    controls.hidden = false;
    setColours(storage.get("colours"));
    controls.addEventListener("click", (event) => {
        const choice = event.target.dataset.colours;
        if (!choice) return;
        storage.set("colours", choice);
        setColours(choice);
    });
}

// ---- numbers and times
function amount(n) {
    return n.toLocaleString("en", { maximumFractionDigits: n < 10 ? 2 : n < 100 ? 1 : 0 }).replace(/,/g, "\u202f");
}

function clock(date) {
    return date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

function span(seconds) {
    if (seconds < 60) return Math.floor(seconds) + " s";
    if (seconds < 3600) return Math.floor(seconds / 60) + " min";
    if (seconds < 86400) return Math.floor(seconds / 3600) + " h " + Math.floor(seconds / 60 % 60) + " min";
    return Math.floor(seconds / 86400) + " d";
}

// In a table how long ago or in how long, elsewhere the time of the day.
function sayTimes() {
    const today = new Date().toDateString();
    for (const element of document.querySelectorAll("time")) {
        const date = new Date(element.dateTime);
        const ago = (Date.now() - date.getTime()) / 1000;
        const full = date.toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
        let text = full;
        if (element.closest("#by-hour")) {
            text = date.toLocaleString([], { weekday: "short", hour: "2-digit", minute: "2-digit" });
        } else if (element.closest("td") && !element.closest("small")) {
            text = Math.abs(ago) < 1 ? "now" : ago > 0 ? span(ago) + " ago" : "in " + span(-ago);
        } else if (date.toDateString() === today && !element.closest(".timeline")) {
            text = date.toLocaleTimeString([], { timeStyle: "medium" });
        }
        if (element.textContent !== text) element.textContent = text;
        element.title = full;
    }
}

// ---- fresh figures: the page is asked for again, and its live parts take the place of the old ones
const REFRESH_MS = 10000;
const AGAIN_MS = 2000;
const live = { paused: false, lastSeen: new Date(), hasChanged: false };

function isInUse(element) {
    const selection = document.getSelection();
    return element.contains(document.activeElement) || (!selection.isCollapsed && element.contains(selection.anchorNode));
}

function tellStale(text) {
    const stale = document.getElementById("stale");
    stale.hidden = !text;
    document.body.classList.toggle("is-stale", Boolean(text));
    if (stale.textContent !== text) stale.textContent = text;
}

function takeOver(fresh) {
    const state = document.getElementById("state");
    const before = state && state.dataset.state;
    const whole = (of) => of.getElementById("figures") !== null;
    // whole parts come or go with the database; who is writing something is not disturbed. A daemon that is ending has none either, and would be gone
    // when the page is loaded anew, which leaves nothing that could ask again: only if it says so a moment later, too.
    if (whole(fresh) !== whole(document)) {
        if (!live.hasChanged) setTimeout(refresh, AGAIN_MS);
        else if (document.activeElement.tagName !== "INPUT") location.reload();
        live.hasChanged = true;
        return;
    }
    live.hasChanged = false;
    for (const part of fresh.querySelectorAll("[data-live]")) {
        const old = document.getElementById(part.id);
        if (old && !isInUse(old)) old.replaceWith(document.adoptNode(part));
    }
    document.title = fresh.title;
    const now = document.getElementById("state");
    if (now && now.dataset.state !== before) {
        document.getElementById("news").textContent = now.querySelector("h1").textContent + ". " + now.querySelector("p").textContent;
    }
    sayTimes();
}

function ask(address, type, then, otherwise) {
    const request = new XMLHttpRequest();
    request.open("GET", address);
    request.responseType = type;
    request.timeout = 30000;
    request.onload = () => {
        if (request.status === 200 && request.response) then(request.response);
        else if (request.status === 401 && document.body.dataset.page !== "login") location.reload(); // the session has ended
        else otherwise();
    };
    request.onerror = request.ontimeout = otherwise;
    request.send();
}

function refresh() {
    ask("./", "document", (fresh) => {
        live.lastSeen = new Date();
        tellStale("");
        takeOver(fresh);
    }, () => {
        live.hasChanged = false;
        tellStale("The daemon does not answer. What is shown here is of " + clock(live.lastSeen) + ".");
    });
}

function beginRefresh() {
    const pause = document.getElementById("pause");
    pause.hidden = false;
    pause.addEventListener("click", () => {
        live.paused = !live.paused;
        pause.setAttribute("aria-pressed", String(live.paused));
        if (!live.paused) refresh();
    });
    setInterval(() => { if (!live.paused && !document.hidden) refresh(); }, REFRESH_MS);
    document.addEventListener("visibilitychange", () => { if (!live.paused && !document.hidden) refresh(); });
}

// ---- charts
const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { left: 42, right: 8, top: 8, bottom: 18 };

function draw(parent, name, attributes, text) {
    const element = document.createElementNS(SVG, name);
    for (const key of Object.keys(attributes)) element.setAttribute(key, attributes[key]);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
}

// The next of 1, 2, 5, 10, 20, 50 …
function roundUp(n) {
    if (!(n > 0)) return 1;
    const power = Math.pow(10, Math.floor(Math.log10(n)));
    return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= n * 0.999999);
}

// Minutes put together so that each column has room; what no daemon wrote down stays empty.
function columnsOf(data, width) {
    const column = {};
    data.columns.forEach((name, i) => { column[name] = i; });
    const minutes = [1, 2, 5, 10, 15, 20, 30, 60].find((m) => data.hours * 60 / m * 3 <= width) || 60;
    const seconds = minutes * 60;
    const end = Math.floor(data.until / seconds) * seconds + seconds;
    const count = data.hours * 3600 / seconds;
    const columns = [];
    for (let i = 0; i < count; i++) {
        columns.push({ from: end - (count - i) * seconds, seconds, seen: 0, events: 0, writes: 0, failed: 0, synced: 0, lag: 0, longest: 0 });
    }
    for (const row of data.rows) {
        const c = columns[Math.floor((row[column.time] - columns[0].from) / seconds)];
        if (!c) continue;
        c.seen++;
        c.events += row[column.events];
        c.writes += row[column.writes];
        c.failed += row[column.failed_writes];
        c.synced += row[column.synced];
        c.lag += (row[column.lag_seconds] || 0) * row[column.synced];
        c.longest = Math.max(c.longest, row[column.longest_lag_seconds] || 0);
    }
    return columns;
}

// What a chart shows of a column: its height, and the words for it.
const kinds = {
    events: {
        value: (c) => c.events / c.seen,
        words: (c) => amount(c.events / c.seen) + " a minute (" + amount(c.events) + " in all)",
        total: (all) => amount(all.reduce((sum, c) => sum + c.events, 0)) + " in all",
    },
    writes: {
        value: (c) => (c.writes + c.failed) / c.seen,
        words: (c) => amount(c.writes / c.seen) + " a minute done (" + amount(c.writes) + " in all), " + amount(c.failed) + " attempts failed",
        total: (all) => amount(all.reduce((sum, c) => sum + c.writes, 0)) + " done, " + amount(all.reduce((sum, c) => sum + c.failed, 0)) + " attempts failed",
    },
    lag: {
        value: (c) => c.longest,
        words: (c) => c.synced ? "average " + amount(c.lag / c.synced) + " s, longest " + amount(c.longest) + " s" : "nothing to bring to the ATS",
        total: (all) => {
            const synced = all.reduce((sum, c) => sum + c.synced, 0);
            return synced ? "average " + amount(all.reduce((sum, c) => sum + c.lag, 0) / synced) + " s" : "nothing has been brought to the ATS";
        },
    },
};

function summary(kind, columns) {
    const seen = columns.filter((c) => c.seen);
    if (!seen.length) return "Nothing is written down yet.";
    const most = seen.reduce((a, b) => kind.value(b) > kind.value(a) ? b : a);
    const peak = kind.value(most);
    return kind.total(seen) + (peak > 0 ? "; the most at " + clock(new Date(most.from * 1000)) + ": " + amount(peak) : "") + ".";
}

function drawAxes(svg, box, top, columns) {
    for (const part of [0, 0.5, 1]) {
        const y = box.y + box.height * (1 - part);
        draw(svg, "line", { class: part ? "grid" : "axis", x1: box.x, x2: box.x + box.width, y1: y, y2: y });
        draw(svg, "text", { x: box.x - 5, y: y + 4, "text-anchor": "end" }, amount(top * part));
    }
    const every = box.width > 520 ? 3 : 6;
    columns.forEach((c, i) => {
        const date = new Date(c.from * 1000);
        if (date.getMinutes() === 0 && date.getHours() % every === 0 && i > 0) {
            const x = box.x + i * box.step;
            draw(svg, "line", { class: "grid", x1: x, x2: x, y1: box.y, y2: box.y + box.height });
            if (x < box.x + box.width - 20) draw(svg, "text", { x, y: box.y + box.height + 14, "text-anchor": "middle" }, clock(date));
        }
    });
}

function drawGaps(svg, box, columns, name) {
    const pattern = draw(draw(svg, "defs", {}), "pattern", { id: "gap-" + name, width: 8, height: 8, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
    draw(pattern, "line", { class: "hatch", x1: 0, y1: 0, x2: 0, y2: 8 });
    for (let i = 0; i < columns.length; i++) {
        if (columns[i].seen) continue;
        let to = i;
        while (to + 1 < columns.length && !columns[to + 1].seen) to++;
        draw(svg, "rect", { x: box.x + i * box.step, y: box.y, width: (to - i + 1) * box.step, height: box.height, fill: "url(#gap-" + name + ")" });
        i = to;
    }
}

function drawBars(svg, box, top, columns, of, below, css) {
    columns.forEach((c, i) => {
        const height = c.seen ? of(c) / c.seen / top * box.height : 0;
        if (height <= 0) return;
        const y = box.y + box.height - height - (below ? below(c) / c.seen / top * box.height : 0);
        draw(svg, "rect", { class: css, x: box.x + i * box.step, y, width: Math.max(box.step - 1, 1), height: Math.max(height, 1) });
    });
}

function drawLag(svg, box, top, columns) {
    let path = "";
    let drawing = false;
    columns.forEach((c, i) => {
        const x = box.x + (i + 0.5) * box.step;
        const y = (seconds) => box.y + box.height * (1 - seconds / top);
        if (!c.synced) { drawing = false; return; }
        path += (drawing ? "L" : "M") + x.toFixed(1) + " " + y(c.lag / c.synced).toFixed(1) + (drawing ? "" : "h0.1");
        drawing = true;
        draw(svg, "circle", { class: "longest", cx: x, cy: y(c.longest), r: 2 });
    });
    if (path) draw(svg, "path", { class: "average", d: path, "stroke-linecap": "round" });
}

function drawChart(figure, data) {
    const name = figure.dataset.chart;
    const kind = kinds[name];
    const plot = figure.querySelector(".plot");
    const readout = figure.querySelector(".readout");
    const width = plot.clientWidth, height = plot.clientHeight;
    const box = { x: MARGIN.left, y: MARGIN.top, width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
    const columns = columnsOf(data, box.width);
    const top = roundUp(columns.reduce((most, c) => Math.max(most, c.seen ? kind.value(c) : 0), 0));
    box.step = box.width / columns.length;
    const svg = draw(document.createDocumentFragment(), "svg", { viewBox: "0 0 " + width + " " + height, role: "img", "aria-label": summary(kind, columns) });
    drawAxes(svg, box, top, columns);
    drawGaps(svg, box, columns, name);
    if (name === "events") drawBars(svg, box, top, columns, (c) => c.events, null, "events");
    if (name === "writes") {
        drawBars(svg, box, top, columns, (c) => c.writes, null, "writes");
        drawBars(svg, box, top, columns, (c) => c.failed, (c) => c.writes, "failed");
    }
    if (name === "lag") drawLag(svg, box, top, columns);
    const cursor = draw(svg, "line", { class: "cursor", y1: box.y, y2: box.y + box.height, visibility: "hidden" });
    plot.replaceChildren(svg);
    figure.chart = { kind, columns, box, cursor, readout, at: -1 };
    show(figure, -1);
}

// Points at a column; -1: none, then the readout tells about all of them.
function show(figure, at) {
    const chart = figure.chart;
    if (!chart) return;
    chart.at = at;
    chart.cursor.setAttribute("visibility", at < 0 ? "hidden" : "visible");
    if (at < 0) {
        chart.readout.textContent = summary(chart.kind, chart.columns);
        return;
    }
    const c = chart.columns[at];
    const x = chart.box.x + (at + 0.5) * chart.box.step;
    chart.cursor.setAttribute("x1", x);
    chart.cursor.setAttribute("x2", x);
    chart.readout.textContent = clock(new Date(c.from * 1000)) + " to " + clock(new Date((c.from + c.seconds) * 1000)) + ": " +
        (c.seen ? chart.kind.words(c) : "no daemon wrote anything down") + ".";
}

function beginChart(figure) {
    const plot = figure.querySelector(".plot");
    const readout = figure.querySelector(".readout");
    plot.addEventListener("pointermove", (event) => {
        const { box, columns } = figure.chart;
        const at = Math.floor((event.clientX - plot.getBoundingClientRect().left - box.x) / box.step);
        show(figure, at >= 0 && at < columns.length ? at : -1);
    });
    plot.addEventListener("pointerleave", () => show(figure, -1));
    plot.addEventListener("focus", () => readout.setAttribute("aria-live", "polite"));
    plot.addEventListener("blur", () => { readout.removeAttribute("aria-live"); show(figure, -1); });
    plot.addEventListener("keydown", (event) => {
        const last = figure.chart.columns.length - 1;
        const at = figure.chart.at;
        const to = { ArrowLeft: at < 0 ? last : Math.max(at - 1, 0), ArrowRight: at < 0 ? 0 : Math.min(at + 1, last), Home: 0, End: last, Escape: -1 }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        show(figure, to);
    });
}

function beginCharts() {
    const figures = Array.from(document.querySelectorAll("[data-chart]"));
    let data = null;
    const drawAll = () => {
        if (!data) return;
        document.getElementById("hatched").hidden = false;
        figures.forEach((figure) => { figure.hidden = false; }); // all of them before one is measured
        figures.forEach((figure) => { if (!figure.chart || figure.chart.at < 0) drawChart(figure, data); });
    };
    const load = () => ask("api/activity", "json", (fresh) => { data = fresh; drawAll(); }, () => {});
    let width = 0;
    if (!figures.length) return;
    figures.forEach(beginChart);
    load();
    setInterval(() => { if (!live.paused && !document.hidden) load(); }, 60000);
    new ResizeObserver((entries) => {
        if (entries[0].contentRect.width !== width) { width = entries[0].contentRect.width; drawAll(); }
    }).observe(document.getElementById("charts"));
}

// ---- the page
function begin() {
    const page = document.body.dataset.page;
    beginColours();
    if (page === "login") {
        // a link from elsewhere arrives without the session's cookie; from here it goes along
        ask("api/status", "json", () => location.replace("./"), () => {});
        return;
    }
    sayTimes();
    setInterval(sayTimes, 5000);
    if (page === "status") {
        beginCharts();
        beginRefresh();
    }
    document.addEventListener("keydown", (event) => {
        if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) && !event.ctrlKey && !event.metaKey && !event.altKey) {
            event.preventDefault();
            document.getElementById("search").focus();
        }
    });
}
if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin); else begin();
