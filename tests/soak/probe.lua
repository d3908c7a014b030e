-- probe.lua -- a client of the soak test in a process of its own: one echo after the other, each
-- with its time.
--
--   lua5.4 tests/soak/probe.lua URL          prints milliseconds, a line each; "lost" for each
--                                            connection that ended or did not answer
--
-- Runs until it is ended.

package.path = "tests/?.lua;" .. package.path

local client = require "support.client"
local loop = require "support.loop"

local PAUSE_SECONDS = 0.02

io.stdout:setvbuf("line")

local function ask_again_and_again()
  local peer = assert(client.connect(arg[1]))
  while true do
    local before = loop.now()
    peer:ask("are you there?", 30)
    print(("%.3f"):format((loop.now() - before) * 1000))
    loop.pass(PAUSE_SECONDS)
  end
end

while true do
  local _, problem = pcall(ask_again_and_again)
  print("lost: " .. tostring(problem):gsub("\n", " "))
  loop.pass(0.2)
end
