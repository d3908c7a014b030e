-- long_test.lua -- the arguments of tests that run for long (tests/soak, tests/sessions), and what
-- they say meanwhile.
--
-- On a terminal the progress is one line, which the next one replaces.

local uv = require "luv"

local long_test = {}

long_test.is_terminal = uv.guess_handle(1) == "tty"

--- Reads the program's arguments into the options: a number of minutes, and pairs such as
--- "--seed 5".
---@param options table<string, any>  with the defaults
function long_test.read_arguments(options)
  local i = 1
  while arg[i] do
    local name = arg[i]:match("^%-%-(%l+)$")
    if name and arg[i + 1] then
      options[name] = tonumber(arg[i + 1]) or arg[i + 1]
      i = i + 2
    else
      options.minutes = assert(tonumber(arg[i]), "not a number of minutes: " .. arg[i])
      i = i + 1
    end
  end
end

--- Writes a line that stays.
---@param text string
function long_test.say(text)
  if long_test.is_terminal then io.write("\r\27[K") end
  print(text)
  io.stdout:flush()
end

--- Writes the progress.
---@param text string
function long_test.tell(text)
  if long_test.is_terminal then io.write("\r\27[K" .. text) else print(text) end
  io.stdout:flush()
end

return long_test
