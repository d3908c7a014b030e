-- What ctest says, made short: how far it is, what failed with its output, what was left out and
-- why, and the summary.
--
--   ctest --output-on-failure … 2>&1 | lua5.4 cmake/test_report.lua LOG
--
-- LOG is ctest's own log, with the output of all tests; the reasons of tests that were left out are
-- in it. What this does not understand it passes on as it is. With TIDEWIRE_TEST_PROGRESS=live, for
-- terminals, one line is written over and over; else it grows: "10 % 20 % …". The exit code is
-- ctest's affair.

local log_path = arg[1]
local is_live = os.getenv("TIDEWIRE_TEST_PROGRESS") == "live"

local RESULT = "^ *(%d+)/(%d+) Test +#%d+: (%S+) [ .]*(.-) +([%d.]+) sec"
local START = "^ +Start +%d+: "
local SUMMARY = "^%d+%% tests passed, "

local function say(...)
  io.stdout:write(...)
  io.stdout:flush()
end

-- Whatever else is said begins a line of its own; one that is written over is cleared for it.
local line_is_open = false
local function say_line(text)
  if line_is_open then say(is_live and "\r\27[K" or "\n") end
  line_is_open = false
  say(text, "\n")
end

local told
local function tell_progress(done, total, name)
  if is_live then
    say(("\r\27[K[%d/%d] %s"):format(done, total, name))
    line_is_open = true
    return
  end
  if not told then
    say(total == 1 and "Running 1 test:" or ("Running %d tests:"):format(total))
    told, line_is_open = 0, true
  end
  while done * 100 // total >= told + 10 and told < 90 do
    told = told + 10
    say((line_is_open and " %d %%" or "Running: %d %%"):format(told))
    line_is_open = true
  end
end

-- The tests of the log that left something out, with their reasons: busted says "Pending → file @
-- line", and then the name of what was not tried.
local function left_out()
  local file <close> = io.open(log_path, "r")
  local found, of_reason = {}, {}
  if not file then return found end
  local name, is_next
  for line in file:lines() do
    name = line:match("^%d+/%d+ Testing: (.+)$") or name
    if is_next then
      local list = of_reason[line]
      if not list then
        list = {}
        of_reason[line], found[#found + 1] = list, { reason = line, tests = list }
      end
      if list[#list] ~= name then list[#list + 1] = name end
    end
    is_next = name and line:find("^Pending %S+ .+ @ %d+$") ~= nil
  end
  return found
end

local failed = {} -- { name, seconds, output }, in the order in which they ended
local current     -- the failed test whose output comes
local summary     -- lines of ctest's last words

local function on_line(line)
  local done, total, name, result, seconds = line:match(RESULT)
  if done and not summary then
    current = nil
    tell_progress(tonumber(done), tonumber(total), name)
    if result:find("***", 1, true) and not result:find("Skipped", 1, true)
      and not result:find("Disabled", 1, true) then
      current = { name = name, seconds = seconds, output = {} }
      failed[#failed + 1] = current
      say_line(("  failed: %s"):format(name))
    end
  elseif line:find(START) then
    current = nil
  elseif line:find(SUMMARY) then
    current, summary = nil, { line }
  elseif summary then
    summary[#summary + 1] = line
  elseif current then
    current.output[#current.output + 1] = line
  elseif line ~= "" and not line:find("^Internal ctest") and not line:find("^Test project ") then
    say_line(line)
  end
end

-- When it is interrupted, as ctest is then, it still tells what has failed until then. (Lua throws
-- an error for that wherever it is, at the return of pcall, too.)
pcall(pcall, function()
  for line in io.lines() do on_line(line) end
end)
if line_is_open then say(is_live and "\r\27[K" or " done\n") end
line_is_open = false

for _, test in ipairs(failed) do
  local output = table.concat(test.output, "\n"):gsub("^%s*\n", ""):gsub("%s+$", "")
  say_line(("\n---- %s, after %s s\n%s"):format(test.name, test.seconds, output))
end

local reasons = left_out()
if #reasons > 0 then say_line("\nLeft out:") end
for _, left in ipairs(reasons) do
  say_line(("  %s\n    in %s"):format(left.reason, table.concat(left.tests, ", ")))
end

-- ctest's summary, without the time that each label took.
if summary and (#failed > 0 or #reasons > 0) then say("\n") end
local skipping = false
for _, line in ipairs(summary or {}) do
  if line == "Label Time Summary:" then skipping = true end
  if not skipping then say_line(line) end
  if line == "" then skipping = false end
end
