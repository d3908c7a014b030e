-- connect_fuzz_spec.lua -- clients of tw.connect whose server does at random what no server should
-- do (support/hostile.lua): the program goes on, and forgets them all.
--
-- TIDEWIRE_FUZZ_SEED repeats a run.

local cjson = require "cjson"
local hostile = require "support.hostile"
local loop = require "support.loop"
local server = require "support.server"

local CLIENTS <const>, ROUNDS <const> = 20, 15

describe("tw.connect with a hostile server", function()
  it("goes on, and leaves nothing behind", function()
    local seed = tonumber(os.getenv("TIDEWIRE_FUZZ_SEED")) or os.time()
    local other <close> = hostile.start(seed)
    local app <close> = server.start({
      app = hostile.APP, files = hostile.FILES, workers = 1, environment = {
        HOSTILE = tostring(other.port), CLIENTS = tostring(CLIENTS), ROUNDS = tostring(ROUNDS),
      },
    })
    local ada = app:connect("/echo")
    local counts
    local done = loop.wait_until(function()
      assert.equal("still here", (ada:ask("still here", 60)))
      counts = cjson.decode(app:http("/counts").body)
      return counts.running == 0
    end, 8 * loop.patience)
    assert.is_truthy(done, "seed " .. seed .. ": " .. cjson.encode(counts))
    assert.equal(CLIENTS * ROUNDS, counts.connects, "seed " .. seed)
    assert.is_true(counts.messages > 0, "seed " .. seed)
    assert.same({}, app:log_lines(" error "), "seed " .. seed)
  end)
end)
