-- For wrk: a different page each time, since equal ones at the same time are read once by an instance.
local page = 0

function request()
  page = (page + 7) % 5000
  return wrk.format("GET", "/results?items_per_page=10&page=" .. page)
end
