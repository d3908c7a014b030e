-- deep_recursion_spec.lua -- a recursion without end, where finalizers wait: they run afterwards,
-- and the worker serves on.

local server = require "support.server"

local APP = [[
local function deep(n) return 1 + deep(n + 1) end
local finalized = 0
local Mt = { __gc = function() finalized = finalized + 1 end }
return {
  handle_message = function(conn, message)
    if message == "count" then
      collectgarbage()
      return conn:send(tostring(finalized))
    end
    for _ = 1, tonumber(message) do setmetatable({}, Mt) end
    deep(1)
  end,
  on_error = function(conn, err)
    conn:send(err.kind .. " " .. err.message:match("stack overflow"))
  end,
}
]]

describe("a recursion without end", function()
  it("ends its run alone, and no finalizer is lost", function()
    local app <close> = server.start({ app = APP, workers = 1 })
    local ada = app:connect("/")
    -- the collector must be at work just when the stack is full
    local total = 0
    for _, garbage in ipairs { 0, 200, 1000, 100, 500 } do
      assert.equal("script stack overflow", (ada:ask(tostring(garbage))))
      total = total + garbage
    end
    local count
    for _ = 1, 30 do -- they run at the ends of turns
      count = ada:ask("count")
      if count == tostring(total) then break end
    end
    assert.equal(tostring(total), count)
    assert.same({}, app:log_lines("error in __gc"))
  end)
end)
