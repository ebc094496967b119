// Searches with the package arxiv-api: the papers or the error of each search.
const arxiv = require('arxiv-api');

async function search(options) {
  try {
    return { papers: await arxiv.search(options) };
  } catch (error) {
    const body = error.response.data.replace(/<updated>.*?<.updated>/g, ''); // the time of the response
    return { papers: [], error: error.message, body };
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
