// The site's search, in the place of Fuse.js (which both builders use): any word of the question counts, rare words more,
// a title more than a text, and a lesson more than an entry of the API.
"use strict";
(() => {
  const idle = new Set("a an and are as at be by can do does for from how i in is it me my of on or that the this to what when where which why with you".split(" "));
  const words = (text) => (text || "").toLowerCase().match(/[\p{L}\p{N}_]+/gu) || [];
  const weigh = (href) => /^(\.\/)?api\.html/.test(href) ? .35 : /toolbox\/|deeper\//.test(href) ? .7 : /^(\.\/)?(backbone|head|loss|convert|nms|train_\w+|start|your_data)\.html/.test(href) ? 1.6 : 1;
  class Search {
    constructor(items) { this.items = []; [...(items || [])].forEach((item) => this.add(item)); }
    add(item) {
      const fields = [[item.title, 6], [item.section, 4], [item.text, 1]].map(([text, weight]) => ({ weight, count: new Map(), total: 0, text }));
      fields.forEach((f) => words(f.text).forEach((w) => { f.count.set(w, (f.count.get(w) || 0) + 1); f.total++; }));
      this.items.push({ item, fields });
    }
    search(query, options = {}) {
      const asked = [...new Set(words(query))], rare = asked.filter((w) => !idle.has(w)), terms = rare.length ? rare : asked;
      const hit = (field, term) => {    // whole words fully, beginnings of words by half
        let sum = field.count.get(term) || 0;
        if (term.length > 2) field.count.forEach((n, w) => { if (w !== term && w.startsWith(term)) sum += n / 2; });
        return Math.log1p(sum) / Math.log1p(1 + field.total / 40);
      };
      const found = this.items.map(({ item, fields }) => ({ item, hits: terms.map((t) => fields.reduce((s, f) => s + f.weight * Math.min(1.5, hit(f, t)), 0)) }));
      const spread = terms.map((_, k) => Math.log(1 + this.items.length / (1 + found.filter((f) => f.hits[k]).length)));
      return found.map(({ item, hits }) => ({ item, refIndex: 0, score: weigh(item.href) * (hits.filter(Boolean).length / terms.length) * hits.reduce((s, h, k) => s + h * spread[k], 0) }))
        .filter((f) => f.score > 0).sort((a, b) => b.score - a.score).slice(0, options.limit || 20);
    }
  }
  window.Fuse = Search;
})();
