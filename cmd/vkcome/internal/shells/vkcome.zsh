#compdef vkcome
# zsh completion for vkcome. Put it into a folder of $fpath as _vkcome, before compinit runs; or load it with `source <(vkcome completion zsh)`.

_vkcome() {
	local -a answer described
	local line word current=${(Q)PREFIX} program=${(Q)words[1]}
	answer=("${(@f)$(${~program} __complete "${(@Q)words[2,CURRENT-1]}" ":$current" 2>/dev/null)}")
	for line in "${(@)answer[2,-1]}"; do
		[[ -n $line ]] || continue
		word=${line%%$'\t'*}
		described+=("${word//:/\\:}:${line#*$'\t'}")
	done
	((${#described})) && _describe -V vkcome described
	case ${answer[1]} in
	files)
		[[ $current == --*=* ]] && compset -P '*='
		_files
		;;
	folders)
		[[ $current == --*=* ]] && compset -P '*='
		_files -/
		;;
	esac
}

if [[ ${funcstack[1]} == _vkcome ]]; then
	_vkcome "$@"
else
	compdef _vkcome vkcome
fi
