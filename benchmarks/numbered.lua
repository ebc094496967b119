-- For wrk: {number} in the path is another number with each request, {number%10} the same modulo 10.
local template, number

function init(arguments)
  template = arguments[1]:match("^%w+://[^/]+(.*)")
  number = tonumber(arguments[2])
end

function request()
  number = number + 1
  local path = template:gsub("{number%%?(%d*)}", function(most)
    return string.format("%.0f", most == "" and number or number % tonumber(most))
  end)
  return wrk.format("GET", path)
end
