# Searches with aRxiv: the rows, the total, and the error of each search.
suppressPackageStartupMessages(library(aRxiv))
options(aRxiv_delay = 0)

search <- function(options) {
  tryCatch({
    papers <- suppressMessages(do.call(arxiv_search, options))
    counted <- arxiv_count(options$query, options$id_list)
    list(papers = papers, total = attr(papers, "total_results"), count = counted)
  }, error = function(error) list(papers = list(), error = conditionMessage(error)))
}

searches <- jsonlite::fromJSON(commandArgs(trailingOnly = TRUE), simplifyVector = TRUE)
cat(jsonlite::toJSON(lapply(searches, search), auto_unbox = TRUE, digits = NA))
