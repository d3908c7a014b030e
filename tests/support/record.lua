-- record.lua -- an app under test records the calls of its hooks for the test.
--
-- The test kit puts this file beside the app. `record(name, ...)` adds one line to the file that
-- RECORD_FILE names; server.lua's `events` reads it. Values are strings, numbers, booleans and nil;
-- others go through tostring. Runs inside the server, in a worker's thread.

local file = assert(io.open(assert(os.getenv("RECORD_FILE")), "a"))
-- a line is written in one piece: other workers write to the same file
file:setvbuf("full", 1 << 16)

return function(...)
  local values = table.pack(...)
  for index = 1, values.n do
    local value = values[index]
    local kind = type(value)
    if kind ~= "nil" and kind ~= "number" and kind ~= "boolean" then value = tostring(value) end
    values[index] = ("%q"):format(value):gsub("\\\n", "\\n")
  end
  file:write("n=", values.n, ",", table.concat(values, ","), "\n")
  file:flush()
end
