module gkm/bench/webhook

go 1.22
