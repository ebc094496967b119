-- A script for wrk: requests the paths in a file, one after the other, again and again.
local paths, number = {}, 0

function init(arguments)
  for path in io.lines(arguments[1]) do
    paths[#paths + 1] = path
  end
end

function request()
  number = number % #paths + 1
  return wrk.format("GET", paths[number])
end
