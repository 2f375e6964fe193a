# bash completion for vkcome (bash 4 or newer).
# Load it with `source <(vkcome completion bash)`, or put it into ~/.local/share/bash-completion/completions/vkcome.

_vkcome() {
	local words=() word rest=${COMP_LINE:0:COMP_POINT} trimmed last i
	# bash splits words at = and : too. What stands without a blank before it belongs to the word before.
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		trimmed=${rest#"${rest%%[![:blank:]]*}"}
		((i < COMP_CWORD)) || word=${trimmed} # up to the cursor
		if ((${#words[@]} > 0)) && [[ $trimmed == "$rest" ]]; then
			words[-1]+=$word
		else
			words+=("$word")
		fi
		last=$word
		rest=${trimmed:${#word}}
	done
	case $last in = | :) last= ;; esac # what is completed stands behind it
	local current=${words[-1]}
	unset 'words[-1]'
	local before=${current%"$last"} program=${words[0]} paths=none line
	[[ $program == "~"* ]] && program=$HOME${program#"~"}
	COMPREPLY=()
	compopt +o default +o bashdefault 2>/dev/null
	{
		read -r paths
		while IFS=$'\t' read -r line _; do
			COMPREPLY+=("${line#"$before"}")
		done
	} < <("$program" __complete "${words[@]:1}" ":$current" 2>/dev/null)
	case $paths in
	files | folders)
		local kind=-f
		[[ $paths == folders ]] && kind=-d
		compopt -o filenames
		if ((${#COMPREPLY[@]} == 0)) && [[ $kind == -f ]]; then
			compopt -o default # bash itself knows about quotes and ~
		else
			while IFS= read -r line; do
				COMPREPLY+=("$line")
			done < <(compgen "$kind" -- "$last")
		fi
		;;
	esac
}
complete -F _vkcome vkcome
