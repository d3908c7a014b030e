-- bench_spec.lua -- scripts/bench works: each part measures something and prints its rows, and the
-- exit code says whether it worked. Nothing here asks how fast anything is.

local json = require "cjson"
local postgres = require "support.postgres"
local process = require "support.process"
local redis = require "support.redis"
local server = require "support.server"

local BUILD = os.getenv "TIDEWIRE_BUILD_DIR" or "build/debug"

local function bench(...)
  return process.run("scripts/bench", { args = { ... }, seconds = 120 })
end

---How many rows each part has, at the least.
local ROWS = {
  echo = 4, broadcast = 2, texts = 3, json = 4, churn = 2, slow = 3, memory = 5, close = 2,
  outside = 6,
}

if postgres.missing() or redis.missing() then ROWS.outside = nil end -- it says so

describe("scripts/bench", function()
  it("measures every part", function()
    local ran = bench("--trial", "--json", "--build", BUILD)
    assert.equal(0, ran.code, ran.stderr)
    local rows = {}
    for line in ran.stdout:gmatch "[^\n]+" do
      local row = json.decode(line)
      rows[row.part] = (rows[row.part] or 0) + 1
      for name, value in pairs(row) do
        if name:find "_us$" or name:find "bytes$" and name ~= "goal_bytes" then
          assert.equal("number", type(value), line)
        end
      end
    end
    assert.same(ROWS, rows)
  end)

  it("prints tables of one part, with its goals", function()
    local ran = bench("--trial", "--only", "broadcast", "--build", BUILD)
    assert.equal(0, ran.code, ran.stderr)
    assert.truthy(ran.stdout:find("Server CPU in microseconds per delivery, 20 receivers", 1, true))
    assert.truthy(ran.stdout:find "\n +message +at once +different +yardstick +Tidewire +times ")
    assert.truthy(ran.stdout:find "\nbroadcast +20 B +16 +1 +%d+%.%d+ +%d+%.%d+ +%d+%.%d+ +1%.12")
  end)

  it("counts instructions, where there is valgrind", function()
    if not process.find "valgrind" then return pending "needs valgrind" end
    if os.getenv "ASAN_OPTIONS" then return pending "valgrind does not run sanitizers" end
    local ran = bench("--trial", "--only", "instructions", "--json", "--build", BUILD)
    assert.equal(0, ran.code, ran.stderr)
    local row = json.decode(ran.stdout)
    assert.equal("instructions", row.part)
    assert.is_true(row.instructions > 0)
  end)

  it("has all parts and options in its help", function()
    local ran = bench("--help")
    assert.equal(0, ran.code)
    for part in pairs(ROWS) do
      assert.truthy(ran.stdout:find("%s" .. part .. "  "), part .. " is not in the help")
    end
    local text = assert(process.read_file "bench/run.lua")
    for option in text:gmatch '%["(%-%-[%l-]+)"%]' do
      assert.truthy(ran.stdout:find(option, 1, true), option .. " is not in the help")
    end
  end)

  it("ends with 2 when the command line is wrong", function()
    for _, words in ipairs {
      { "--fast" }, { "--only", "everything" }, { "--only" }, { "--runs", "0" },
      { "--seconds", "x" }, { "--seconds", "601" },
    } do
      local ran = bench(table.unpack(words))
      assert.equal(2, ran.code)
      assert.truthy(ran.stderr:find "^scripts/bench: ")
    end
  end)

  it("ends with 1 when something failed", function()
    local ran = bench("--trial", "--only", "echo", "--build", BUILD, "--program", "/bin/false")
    assert.equal(1, ran.code)
    assert.truthy(ran.stderr:find("scripts/bench: Tidewire did not start", 1, true))
  end)
end)

describe("bench/load.c", function()
  ---Runs it against an app.
  local function load_of(app, ...)
    local running <close> = server.start { app = app, environment = { TIDEWIRE_WORKERS = "1" } }
    return process.run(BUILD .. "/bench/bench_load", { seconds = 120, args = {
      "echo", "--port", tostring(running.addresses[1].port), "--pid", tostring(running.pid),
      "--connections", "3", "--warm-up", "0", ...,
    } })
  end

  it("answers Pings", function()
    local ran = load_of([[ return {
      codec = "text", ping_period = 0.05,
      handle_message = function(conn, message) conn:send(message) end,
    } ]], "--seconds", "0.3")
    assert.equal(0, ran.code, ran.stderr)
    assert.truthy(ran.stdout:find "^messages=%d+ size=20 ")
  end)

  it("compares what comes back, and ends with 1", function()
    local ran = load_of([[ return {
      codec = "text",
      handle_message = function(conn, message) conn:send((message:gsub("%d$", "x"))) end,
    } ]], "--seconds", "60", "--size", "7", "--texts", "10")
    assert.equal(1, ran.code)
    assert.truthy(ran.stderr:find("received other bytes than expected, at byte 0 of a frame: 81 07",
      1, true))
  end)
end)
