-- A script for wrk. In the path, {number} is replaced by another number for each request, and {number%10}
-- by the same number modulo 10.
local template, number

function init(arguments)
  template = arguments[1]:match("^%w+://[^/]+(.*)")
  number = tonumber(arguments[2])
end

function request()
  number = number + 1
  local path = template:gsub("{number%%?(%d*)}", function(modulus)
    return string.format("%.0f", modulus == "" and number or number % tonumber(modulus))
  end)
  return wrk.format("GET", path)
end
