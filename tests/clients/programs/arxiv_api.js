// Searches with the package arxiv-api: the papers or the error of each search.
const arxiv = require('arxiv-api');

async function search(options) {
  try {
    return { papers: await arxiv.search(options) };
  } catch (error) {
    return { papers: [], error: error.message, body: error.response.data };
  }
}

async function main() {
  const outcomes = {};
  for (const [name, options] of Object.entries(JSON.parse(process.argv[2]))) {
    outcomes[name] = await search(options);
  }
  console.log(JSON.stringify(outcomes));
}

main();
