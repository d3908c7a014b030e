-- exchange.lua -- the upstream of the bridge: a server that sends prices. Here they are made up.
--
-- Run:   scripts/run examples/bridge/exchange.lua
-- Type:  scripts/run talk ws://127.0.0.1:9000/prices
--
-- A client gets all prices, one a message, and then each that changes:
--   {"symbol":"GOLD","price":2410.3}

local tw = require "tidewire"

local prices = { GOLD = 2400, SILVER = 30, COPPER = 9.5, TIN = 33, ZINC = 2.8 }
local room = tw.room("exchange")

local function message(symbol)
  return { symbol = symbol, price = math.floor(prices[symbol] * 1000 + 0.5) / 1000 }
end

if tw.worker == 0 then
  tw.every(0.2, function()
    for symbol, price in pairs(prices) do
      if math.random() < 0.5 then
        prices[symbol] = price * (1 + (math.random() - 0.5) / 500)
        room:broadcast(message(symbol))
      end
    end
  end)
end

return {
  listen = "127.0.0.1:9000",
  workers = 1, -- each would have other prices
  endpoints = {
    ["/prices"] = {
      codec = "json",
      on_start = function(conn)
        for symbol in pairs(prices) do conn:send(message(symbol)) end
        conn:join(room.name)
      end,
    },
  },
}
