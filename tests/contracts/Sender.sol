// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// Pays as contracts do: several transfers in one transaction, one that is undone, coin from inside a call.
contract Sender {
    error Undone();

    receive() external payable {}

    /// Several equal transfers of tokens that this contract holds.
    function many(IERC20 token, address to, uint256 amount, uint256 times) external {
        for (uint256 i = 0; i < times; i++) {
            token.transfer(to, amount);
        }
    }

    /// A transfer that happens and is then undone with the whole transaction.
    function undone(IERC20 token, address to, uint256 amount) external {
        token.transfer(to, amount);
        revert Undone();
    }

    /// Native coin by an internal call: the transaction's own recipient is this contract.
    function forward(address payable to) external payable {
        (bool sent, ) = to.call{value: msg.value}("");
        require(sent);
    }

    /// Several equal payments of native coin: what came with the call, in that many parts.
    function several(address payable to, uint256 times) external payable {
        for (uint256 i = 0; i < times; i++) {
            (bool sent, ) = to.call{value: msg.value / times}("");
            require(sent);
        }
    }

    /// A payment of native coin that happens and is then undone with the whole transaction.
    function undoneCoin(address payable to) external payable {
        (bool sent, ) = to.call{value: msg.value}("");
        require(sent);
        revert Undone();
    }

    /// Takes native coin and keeps none of it: the transaction has a value and fails.
    function refuse() external payable {
        revert Undone();
    }
}
