-- sessions_storm_spec.lua -- clients with sessions whose sockets are cut at random moments: every
-- message comes exactly once and in order, through reloads, restarts and upgrades as well.
--
-- A short run of the test that scripts/sessions runs for long (docs/testing.md).

local judge = require "sessions.judge"

local SEED = tonumber(os.getenv("TIDEWIRE_TEST_SEED")) or os.time()
local WORKERS = tonumber(os.getenv("TIDEWIRE_TEST_WORKERS") or 1)

local function run(options)
  options.seed, options.workers = SEED, WORKERS
  options.clients, options.seconds = options.clients or 24, options.seconds or 2.5
  options.mean_seconds, options.away_seconds = 0.5, options.away_seconds or 0.2
  local said = {}
  options.say = function(text) said[#said + 1] = text end
  local good, result = pcall(judge.run, options)
  assert(good and #result.faults == 0, ("seed %d: %s\n%s"):format(SEED,
    good and #result.faults .. " faults" or result, table.concat(said, "\n")))
  local resumed = 0
  for _, each in ipairs(result.players) do resumed = resumed + each.session.resumed end
  assert.is_true(resumed > 0, "no session was resumed")
  return result
end

describe("a session whose socket is cut again and again", function()
  it("loses and doubles no message", function() run {} end)

  it("loses and doubles none while code is reloaded", function() run { reload_seconds = 0.5 } end)

  it("says so where it keeps too little, and doubles none", function()
    local result = run {
      may_lose = true, away_seconds = 0.5,
      environment = {
        JUDGE_SECONDS = "1", JUDGE_MESSAGES = "20", JUDGE_BYTES = "16K", JUDGE_TIGHT = "1",
        JUDGE_TICK = "0.05",
      },
    }
    assert.is_true(result.lost > 0, "no session has ended")
  end)

  it("loses and doubles none when the server is started again", function()
    local result = run { change = "restart", change_seconds = 1 }
    assert.is_true(result.changed > 0)
  end)

  it("loses and doubles none when another process replaces the server", function()
    local result = run { change = "upgrade", change_seconds = 1 }
    assert.is_true(result.changed > 0)
  end)

  it("is a new one for the client when the server was killed", function()
    local result = run { change = "kill", change_seconds = 1, may_lose = true }
    assert.is_true(result.changed > 0 and result.lost > 0)
  end)
end)
