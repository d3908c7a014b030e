-- instructions.lua -- a part of the benchmark: the instructions that Tidewire executes for a
-- message outside the kernel, which callgrind counts. Other programs on the machine do not change
-- them.
--
-- The load sends a fixed number of rounds, once few and once many; the difference belongs to the
-- messages, and what start and end take is in neither. System calls are not in the figure.

local measure = require "measure"
local processes = require "processes"
local report = require "report"

local FEW_ROUNDS, MANY_ROUNDS = 20, 120
local ECHO_CONNECTIONS = 10
local RECEIVERS = 100
local ROWS = {
  { kind = "echo", app = "echo.lua", size = 20, depth = 1 },
  { kind = "echo", app = "echo.lua", size = 20, depth = 16 },
  { kind = "echo", app = "echo.lua", size = 20, depth = 16, texts = 100000 },
  { kind = "echo", app = "echo.lua", size = 1024, depth = 16 },
  { kind = "echo", app = "echo.lua", size = 16384, depth = 4 },
  { kind = "echo", app = "json.lua", json = true, depth = 16, texts = 10000 },
  { kind = "bcast", app = "bcast.lua", size = 20, depth = 1 },
  { kind = "bcast", app = "bcast.lua", size = 20, depth = 16 },
  { kind = "bcast", app = "json.lua", path = "/all", json = true, depth = 1, texts = 10000 },
}

---The messages or deliveries of some rounds; callgrind writes its counts into the file.
local function run(row, rounds, file)
  local server <close> = processes.start_tidewire(row.app, {
    wrapper = "valgrind --tool=callgrind --callgrind-out-file=" .. file,
  })
  local figures = processes.load(server, row.kind, {
    connections = row.kind == "echo" and ECHO_CONNECTIONS or RECEIVERS, depth = row.depth,
    size = row.size, texts = row.texts, json = row.json, path = row.path, rounds = rounds,
  })
  return figures.messages or figures.deliveries
end

---Instructions of the whole process, and the messages or deliveries that were part of them.
local function count(row, rounds)
  local file = processes.temporary_file()
  local messages = run(row, rounds, file)
  local text = processes.read_file(file) or ""
  local instructions = text:match "\ntotals: (%d+)" or text:match "\nsummary: (%d+)"
  if not instructions then processes.fail "callgrind has counted nothing" end
  return math.tointeger(tonumber(instructions)), messages
end

return function(options)
  if not os.execute "valgrind --version > /dev/null 2>&1" then
    processes.fail "instructions are counted by valgrind: apt-get install valgrind"
  end
  report.table("instructions", ("Instructions outside the kernel per message to %d connections " ..
    "and per delivery\nto %d receivers"):format(ECHO_CONNECTIONS, RECEIVERS), {
      { name = "kind", title = "", width = 9 },
      { name = "message", title = "message", width = 8 },
      { name = "at_once", title = "at once", width = 8 },
      { name = "texts", title = "different", width = 10 },
      { name = "instructions", title = "instructions", width = 13, format = "%.0f" },
    })
  for _, row in ipairs(ROWS) do
    local name = measure.message_name(row)
    report.progress("%s, %d at once", name, row.depth)
    local before, fewer = count(row, options.trial and 1 or FEW_ROUNDS)
    local after, more = count(row, options.trial and 3 or MANY_ROUNDS)
    report.row {
      kind = measure.kind_name(row), message = name, at_once = row.depth,
      texts = row.texts or 1, instructions = (after - before) / (more - fewer),
    }
    if options.trial then break end
  end
  report.finish()
end
