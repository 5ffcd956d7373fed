# Writes auc_proc.json: pROC's AUC, DeLong variance and 95 % interval of each case in auc.json.
#
#   python3 tests/golden/make_auc.py && Rscript tests/golden/make_auc.R
#   (Debian: r-base-core r-cran-proc r-cran-jsonlite)
suppressMessages({library(pROC); library(jsonlite)})
folder <- dirname(sub("--file=", "", grep("--file=", commandArgs(FALSE), value = TRUE)))
cases <- fromJSON(file.path(folder, "auc.json"), simplifyDataFrame = FALSE)$cases
lines <- vapply(cases, function(case) {
  curve <- roc(case$labels, case$scores, levels = c(0, 1), direction = "<", quiet = TRUE)
  interval <- suppressWarnings(ci.auc(curve, method = "delong"))
  toJSON(list(name = case$name, auc = as.numeric(auc(curve)),
              variance = suppressWarnings(var(curve, method = "delong")),
              ci_low = interval[1], ci_high = interval[3]),
         auto_unbox = TRUE, digits = I(17))
}, "")
writeLines(sprintf('{"pROC": "%s", "cases": [\n%s\n]}', packageVersion("pROC"),
                   paste(lines, collapse = ",\n")), file.path(folder, "auc_proc.json"))
