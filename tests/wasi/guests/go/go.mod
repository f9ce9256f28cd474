module hook

go 1.24
