module gkm/bench/extract

go 1.22
