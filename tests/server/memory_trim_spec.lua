-- memory_trim_spec.lua -- the memory of a peak goes back to the system.

local loop = require "support.loop"
local server = require "support.server"

-- The last string keeps the end of malloc's heap in use.
local APP = [[
local kept
return {
  http = {
    ["/peak"] = function()
      local strings = {}
      for i = 1, 6000 do strings[i] = ("x"):rep(20000) .. i end
      kept = strings[#strings]
      return "full"
    end,
    ["/collect"] = function()
      collectgarbage()
      return tostring(#kept)
    end,
  },
}]]

describe("the memory of a peak", function()
  it("goes back to the system, when there is little to do", function()
    local app <close> = server.start { app = APP, workers = 1 }
    local before = app.process:rss_kib()
    assert.equal("full", app:http("/peak").body)
    app:http("/collect")
    if app.process:is_sanitized() then return end -- which keeps what is freed
    assert.is_true(loop.wait_until(function()
      return app.process:rss_kib() < before + 24 * 1024
    end, 60))
  end)
end)
